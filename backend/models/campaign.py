"""A campaign: one message to every row of a table.

Its rows wait here until they are accepted, a few at a time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, MutableRow, Timestamp, utc_now


class Campaign(MutableRow, table=True):
    """`state`: draft, running, paused, completed or canceled."""

    __tablename__ = "campaigns"
    __table_args__ = (
        Index("ix_campaigns_project", "project_id", "id"),
        Index("ix_campaigns_running", "next_feed_at", postgresql_where=text("state = 'running'")),
    )

    project_id: UUID = Field(foreign_key="projects.id")
    name: str = Field(max_length=255)
    state: str = Field(max_length=10)
    mode: str = Field(max_length=10)
    key_id: UUID | None = None  # whose limits count; None: a member of the project made it
    created_by: UUID | None = None  # the user; None: the key
    connector_id: UUID | None = None
    connector_type: str | None = Field(default=None, max_length=50)
    template_id: UUID | None = None
    message: str | None = None
    subject: str | None = None
    html: str | None = None
    priority: str = Field(max_length=10)
    metadata_: JsonObject | None = Field(
        default=None, sa_type=Json, sa_column_kwargs={"name": "metadata"}
    )
    columns: list[str] = Field(default_factory=list, sa_type=Json)  # the table's head
    mapping: dict[str, str] = Field(
        default_factory=dict, sa_type=Json
    )  # column -> "to", or a variable
    send_at: datetime | None = Field(default=None, sa_type=Timestamp)
    expires_at: datetime | None = Field(default=None, sa_type=Timestamp)
    total_rows: int = 0
    # Known when the campaign has ended; before that they are counted.
    accepted_rows: int | None = None
    failed_rows: int | None = None
    # When it is fed next. Anyone who feeds it moves this on first: that is the lease.
    next_feed_at: datetime = Field(default_factory=utc_now, sa_type=Timestamp)
    reason: str | None = None  # why it was paused, or what it waits for
    started_at: datetime | None = Field(default=None, sa_type=Timestamp)
    ended_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID, campaign_id: UUID) -> Self | None:
        query = select(cls).where(col(cls.id) == campaign_id, col(cls.project_id) == project_id)
        return (await session.exec(query)).first()

    @classmethod
    async def find_any(cls, session: AsyncSession, campaign_id: UUID) -> Self | None:
        """Across tenants; the caller checks membership of `project_id` before showing anything."""
        return await session.get(cls, campaign_id)

    @classmethod
    def of_project(cls, project_id: UUID) -> Any:
        """Return the select of a project's campaigns, for a page of them."""
        return select(cls).where(col(cls.project_id) == project_id)


class CampaignRow(SQLModel, table=True):
    """`state`: pending, accepted or failed.

    An accepted row's text is the message's: `cells` are dropped.
    """

    __tablename__ = "campaign_rows"
    __table_args__ = (Index("ix_campaign_rows_state", "campaign_id", "state", "line"),)

    campaign_id: UUID = Field(foreign_key="campaigns.id", primary_key=True)
    line: int = Field(primary_key=True)  # where the row begins in the file; the head is line 1
    project_id: UUID
    cells: list[str] | None = Field(default=None, sa_type=Json)
    state: str = Field(max_length=10)
    message_id: UUID | None = None
    error_field: str | None = None
    error_code: str | None = Field(default=None, max_length=50)
    error_reason: str | None = None
