"""A person who logs in to the dashboard."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlmodel import Field, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import MutableRow, Timestamp


class User(MutableRow, table=True):
    __tablename__ = "users"

    # Lower-cased before it is stored, so that the unique index settles who came first.
    email: str = Field(max_length=255, unique=True)
    password_hash: str = Field(max_length=255)
    name: str = Field(default="", max_length=255)
    is_active: bool = True
    is_platform_admin: bool = False
    email_confirmed_at: datetime | None = Field(default=None, sa_type=Timestamp)
    last_login_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @classmethod
    async def find(cls, session: AsyncSession, user_id: UUID) -> Self | None:
        return await session.get(cls, user_id)

    @classmethod
    async def find_by_email(cls, session: AsyncSession, email: str) -> Self | None:
        """`email` is lower-cased here too."""
        return (
            await session.exec(select(cls).where(col(cls.email) == email.strip().lower()))
        ).first()

    @classmethod
    async def by_ids(cls, session: AsyncSession, user_ids: set[UUID]) -> dict[UUID, Self]:
        if not user_ids:
            return {}
        result = (await session.exec(select(cls).where(col(cls.id).in_(user_ids)))).all()
        return {user.id: user for user in result}

    @classmethod
    async def count(cls, session: AsyncSession) -> int:
        return (await session.exec(select(func.count()).select_from(cls))).one()
