"""An address that must not be sent to: it opted out, or it bounced for good."""

from __future__ import annotations

from collections.abc import Collection
from typing import Self
from uuid import UUID

from sqlalchemy import UniqueConstraint, tuple_
from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Row


class Suppression(Row, table=True):
    __tablename__ = "suppressions"
    __table_args__ = (UniqueConstraint("project_id", "channel", "recipient"),)

    project_id: UUID = Field(foreign_key="projects.id")
    channel: str = Field(max_length=50)  # the connector type
    recipient: str
    reason: str = ""
    message_id: UUID | None = None

    @classmethod
    async def find_many(
        cls, session: AsyncSession, project_id: UUID, addresses: Collection[tuple[str, str]]
    ) -> set[tuple[str, str]]:
        """Return those of the (channel, recipient) that must not be sent to."""
        query = select(cls.channel, cls.recipient).where(
            col(cls.project_id) == project_id,
            tuple_(col(cls.channel), col(cls.recipient)).in_(addresses),
        )
        return {(channel, recipient) for channel, recipient in (await session.exec(query)).all()}

    @classmethod
    async def find(
        cls, session: AsyncSession, project_id: UUID, channel: str, recipient: str
    ) -> Self | None:
        query = select(cls).where(
            col(cls.project_id) == project_id,
            col(cls.channel) == channel,
            col(cls.recipient) == recipient,
        )
        return (await session.exec(query)).first()
