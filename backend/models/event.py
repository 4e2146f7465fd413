"""An event: a fact that happened to a message. Partitioned like messages."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, Timestamp


class Event(SQLModel, table=True):
    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_message", "message_id"),
        Index("ix_events_project", "project_id", "id"),
        {"postgresql_partition_by": "RANGE (id)"},
    )

    id: UUID = Field(primary_key=True)
    project_id: UUID
    message_id: UUID
    type: str = Field(max_length=50)  # message.sent, message.failed ...
    data: JsonObject = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=Timestamp)

    @classmethod
    async def list_for_message(cls, session: AsyncSession, message_id: UUID) -> list[Self]:
        query = select(cls).where(col(cls.message_id) == message_id, col(cls.id) >= message_id)
        return list((await session.exec(query.order_by(col(cls.id)))).all())
