"""An API key: found by the HMAC of its text, which is itself never stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlmodel import Field, col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, TenantRow, Timestamp


class ApiKey(TenantRow, table=True):
    __tablename__ = "api_keys"

    name: str = Field(max_length=255)
    kind: str = Field(default="secret", max_length=20)  # secret | publishable
    mode: str = Field(default="live", max_length=10)  # live | test
    key_hash: bytes = Field(unique=True)
    # The first characters and the last four: enough to recognise a key, useless to an attacker.
    hint: str = Field(max_length=40)
    scopes: list[str] = Field(default_factory=list, sa_type=Json)
    allowed_origins: list[str] = Field(default_factory=list, sa_type=Json)
    rate_limit: int | None = Field(default=None)  # messages an hour; None: the plan's
    expires_at: datetime | None = Field(default=None, sa_type=Timestamp)
    last_used_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID, key_id: UUID) -> Self | None:
        query = select(cls).where(
            col(cls.project_id) == project_id, col(cls.id) == key_id, col(cls.deleted_at).is_(None)
        )
        return (await session.exec(query)).first()

    @classmethod
    async def find_by_hash(cls, session: AsyncSession, key_hash: bytes) -> Self | None:
        """Across tenants: the key is what says which tenant calls."""
        query = select(cls).where(col(cls.key_hash) == key_hash, col(cls.deleted_at).is_(None))
        return (await session.exec(query)).first()

    @classmethod
    async def list_for_project(cls, session: AsyncSession, project_id: UUID) -> list[Self]:
        query = select(cls).where(col(cls.project_id) == project_id, col(cls.deleted_at).is_(None))
        return list((await session.exec(query.order_by(col(cls.id).desc()))).all())

    @classmethod
    async def touch(cls, session: AsyncSession, used_at_by_id: dict[UUID, datetime]) -> None:
        """Move `last_used_at` forward for many keys."""
        for key_id, used_at in sorted(used_at_by_id.items()):
            statement: Any = update(cls).where(col(cls.id) == key_id).values(last_used_at=used_at)
            await session.exec(statement)
