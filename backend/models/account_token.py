"""A token sent by mail to a user: good once, for one purpose, known by its hash."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlmodel import Field, SQLModel, col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Timestamp, utc_now


class AccountToken(SQLModel, table=True):
    __tablename__ = "account_tokens"

    token_hash: bytes = Field(primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", index=True)
    purpose: str = Field(max_length=20)  # password_reset | email_confirmation
    # The address it was sent to: it proves that one and no other.
    email: str = Field(max_length=255)
    created_at: datetime = Field(default_factory=utc_now, sa_type=Timestamp)
    expires_at: datetime = Field(sa_type=Timestamp)
    used_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @classmethod
    async def find_for_update(cls, session: AsyncSession, token_hash: bytes) -> Self | None:
        """Locked, so that two uses of one token cannot both be the first."""
        query = select(cls).where(col(cls.token_hash) == token_hash).with_for_update()
        return (await session.exec(query)).first()

    @classmethod
    async def use_up(cls, session: AsyncSession, user_id: UUID, purpose: str) -> None:
        """Every token the user still has for this purpose is refused from the commit on."""
        unused = (
            col(cls.user_id) == user_id,
            col(cls.purpose) == purpose,
            col(cls.used_at).is_(None),
        )
        await session.exec(update(cls).where(*unused).values(used_at=utc_now()))
