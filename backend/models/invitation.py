"""An invitation to a project: good once, for one e-mail address, known by the hash of its token."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from backend.models.base import Row, Timestamp, utc_now


class Invitation(Row, table=True):
    __tablename__ = "invitations"

    project_id: UUID = Field(foreign_key="projects.id", index=True)
    email: str = Field(max_length=255)  # lower-cased, as in users
    role: str = Field(max_length=20)
    invited_by: UUID = Field(foreign_key="users.id")
    token_hash: bytes = Field(unique=True)
    expires_at: datetime = Field(sa_type=Timestamp)
    accepted_at: datetime | None = Field(default=None, sa_type=Timestamp)
    revoked_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @property
    def is_open(self) -> bool:
        return self.accepted_at is None and self.revoked_at is None and self.expires_at > utc_now()

    @classmethod
    async def find(
        cls, session: AsyncSession, project_id: UUID, invitation_id: UUID
    ) -> Self | None:
        """One that has been neither accepted nor revoked; it may have expired."""
        query = cls._pending(project_id).where(col(cls.id) == invitation_id)
        return (await session.exec(query)).first()

    @classmethod
    async def list_for_email(
        cls, session: AsyncSession, project_id: UUID, email: str
    ) -> list[Self]:
        query = cls._pending(project_id).where(col(cls.email) == email)
        return list((await session.exec(query)).all())

    @classmethod
    async def find_for_update(cls, session: AsyncSession, token_hash: bytes) -> Self | None:
        """Locked, so that two uses of one token cannot both be the first."""
        query = select(cls).where(col(cls.token_hash) == token_hash).with_for_update()
        return (await session.exec(query)).first()

    @classmethod
    def _pending(cls, project_id: UUID) -> SelectOfScalar[Self]:
        return select(cls).where(
            col(cls.project_id) == project_id,
            col(cls.accepted_at).is_(None),
            col(cls.revoked_at).is_(None),
        )
