"""A message: one thing to deliver to one recipient. Partitioned by its id, which is its time."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlalchemy import Index, SmallInteger, text
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, Timestamp


class Message(SQLModel, table=True):
    """Written by the group-commit writer and the delivery recorder, read through the ORM.

    No foreign keys: a partition must be droppable. `status` is `queued` until the first outcome is
    recorded; whether it is being sent right now stands in `send_queue.state`.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_project", "project_id", "id"),
        # What never changes only: an index that knows the status would end HOT updates.
        Index("ix_messages_recipient", "project_id", "recipient", "id"),
        Index("ix_messages_key", "project_id", "key_id", "id"),
        Index(
            "ix_messages_template",
            "project_id",
            "template_id",
            "id",
            postgresql_where=text("template_id IS NOT NULL"),
        ),
        Index(
            "ix_messages_campaign",
            "campaign_id",
            "id",
            postgresql_where=text("campaign_id IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = Field(primary_key=True)
    project_id: UUID
    key_id: UUID | None = None
    connector_id: UUID
    connector_type: str = Field(max_length=50)
    template_id: UUID | None = None
    template_version: int | None = None
    mode: str = Field(max_length=10)
    recipient: str
    content: JsonObject = Field(sa_type=Json)  # {text, subject?, html?, template?}
    status: str = Field(max_length=20)
    priority: str = Field(max_length=10)
    on_uncertain: str = Field(max_length=10)
    metadata_: JsonObject | None = Field(
        default=None, sa_type=Json, sa_column_kwargs={"name": "metadata"}
    )
    attempts: int = 0
    provider_message_id: str | None = None
    error_code: str | None = None
    error_reason: str | None = None
    resent_from: UUID | None = None  # the message this one repeats
    campaign_id: UUID | None = None
    # The ways that are left when this one fails: {steps: [...], fallbackAfterS}; `step` counts
    # those taken.
    route: JsonObject | None = Field(default=None, sa_type=Json)
    step: int = Field(
        default=0, sa_type=SmallInteger, sa_column_kwargs={"server_default": text("0")}
    )
    send_at: datetime | None = Field(default=None, sa_type=Timestamp)
    expires_at: datetime | None = Field(default=None, sa_type=Timestamp)
    sent_at: datetime | None = Field(default=None, sa_type=Timestamp)
    delivered_at: datetime | None = Field(default=None, sa_type=Timestamp)
    read_at: datetime | None = Field(default=None, sa_type=Timestamp)
    failed_at: datetime | None = Field(default=None, sa_type=Timestamp)
    redacted_at: datetime | None = Field(
        default=None, sa_type=Timestamp
    )  # since then `content` is masked or empty
    created_at: datetime = Field(sa_type=Timestamp)
    updated_at: datetime = Field(sa_type=Timestamp)

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID, message_id: UUID) -> Self | None:
        query = select(cls).where(col(cls.id) == message_id, col(cls.project_id) == project_id)
        return (await session.exec(query)).first()

    @classmethod
    async def find_any(cls, session: AsyncSession, message_id: UUID) -> Self | None:
        """Across tenants; the caller checks membership of `project_id` before showing anything."""
        return (await session.exec(select(cls).where(col(cls.id) == message_id))).first()
