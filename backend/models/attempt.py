"""An attempt: one try to hand a message to a provider. Partitioned like messages."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, Timestamp


class Attempt(SQLModel, table=True):
    __tablename__ = "attempts"
    __table_args__ = (
        Index("ix_attempts_message", "message_id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = Field(primary_key=True)
    message_id: UUID
    project_id: UUID
    connector_id: UUID
    number: int
    outcome: str = Field(
        max_length=20
    )  # accepted | retry | throttled | rejected | uncertain | broken
    provider_code: str = ""
    reason: str = ""
    answer: JsonObject | None = Field(default=None, sa_type=Json)
    started_at: datetime = Field(sa_type=Timestamp)
    duration_ms: float
    retry_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @classmethod
    async def list_for_message(cls, session: AsyncSession, message_id: UUID) -> list[Self]:
        """Oldest first.

        An attempt's id is never older than its message's: that prunes partitions.
        """
        query = select(cls).where(col(cls.message_id) == message_id, col(cls.id) >= message_id)
        return list((await session.exec(query.order_by(col(cls.id)))).all())
