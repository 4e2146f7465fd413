"""A log-in (refresh-token family) and the refresh tokens it has handed out."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlmodel import Field, SQLModel, col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Row, Timestamp, utc_now
from backend.models.session import Change, announce


class AuthSession(Row, table=True):
    """One log-in. Revoking it ends its access tokens and its whole refresh family."""

    __tablename__ = "sessions"

    user_id: UUID = Field(foreign_key="users.id", index=True)
    user_agent: str = Field(default="", max_length=255)
    address: str = Field(default="", max_length=64)
    last_seen_at: datetime = Field(sa_type=Timestamp)
    expires_at: datetime = Field(sa_type=Timestamp)
    revoked_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @classmethod
    async def find(cls, session: AsyncSession, session_id: UUID) -> Self | None:
        return await session.get(cls, session_id)

    @classmethod
    async def list_for_user(cls, session: AsyncSession, user_id: UUID) -> list[Self]:
        query = select(cls).where(col(cls.user_id) == user_id, col(cls.revoked_at).is_(None))
        return list((await session.exec(query.order_by(col(cls.id).desc()))).all())

    @classmethod
    async def revoke_all(
        cls, session: AsyncSession, user_id: UUID, *, but: UUID | None = None
    ) -> None:
        """End every log-in of the user, `but` one."""
        live = (
            col(cls.user_id) == user_id,
            col(cls.revoked_at).is_(None),
            col(cls.id).is_distinct_from(but),
        )
        ended = await session.exec(
            update(cls).where(*live).values(revoked_at=utc_now()).returning(col(cls.id))
        )
        for session_id in ended.scalars():
            announce(session, Change("session", session_id))

    def revoke(self, session: AsyncSession) -> None:
        """End it: every process is told once that is committed."""
        self.revoked_at = utc_now()
        announce(session, Change("session", self.id))


class RefreshToken(SQLModel, table=True):
    """A refresh token by its hash. `used_at` set means a second use is theft: revoke the family."""

    __tablename__ = "refresh_tokens"

    token_hash: bytes = Field(primary_key=True)
    session_id: UUID = Field(foreign_key="sessions.id", index=True)
    expires_at: datetime = Field(sa_type=Timestamp)
    used_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @classmethod
    async def find_for_update(cls, session: AsyncSession, token_hash: bytes) -> Self | None:
        """Locked, so that two uses of one token cannot both be the first."""
        query = select(cls).where(col(cls.token_hash) == token_hash).with_for_update()
        return (await session.exec(query)).first()
