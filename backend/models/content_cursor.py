"""How far redaction has walked through a project's messages."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import Field, SQLModel, col, delete
from sqlmodel.ext.asyncio.session import AsyncSession


class ContentCursor(SQLModel, table=True):
    """Every message up to `walked_to` is redacted or has a ContentHold.

    No row: nothing was walked yet.
    """

    __tablename__ = "content_cursors"

    project_id: UUID = Field(primary_key=True)
    walked_to: UUID

    @classmethod
    async def start_over(cls, session: AsyncSession, project_id: UUID) -> None:
        await session.exec(delete(cls).where(col(cls.project_id) == project_id))
