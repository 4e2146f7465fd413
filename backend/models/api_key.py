"""An API key: found by the HMAC of its text, which is itself never stored."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple, Self
from uuid import UUID

from sqlalchemy import BigInteger
from sqlmodel import Field, col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, TenantRow, Timestamp
from backend.models.project import IS_OPEN
from backend.models.session import RawPool

# Across tenants: the key is what says which tenant calls.
# A regenerated key is found by its old text too: one scan over both indexes, as cheap as over one.
_CALLERS: Final = f"""
SELECT k.key_hash, k.previous_hash, k.previous_expires_at, k.id, k.project_id, k.name, k.kind,
    k.mode, k.scopes,
       k.allowed_origins, k.rate_limit, k.expires_at, p.plan, p.quiet_hours,
       {IS_OPEN}
FROM api_keys k JOIN projects p ON p.id = k.project_id
WHERE (k.key_hash = ANY(%(hashes)s) OR k.previous_hash = ANY(%(hashes)s))
  AND k.is_active AND k.deleted_at IS NULL AND p.deleted_at IS NULL
"""  # noqa: S608 (made of constants)


class KeyRow(NamedTuple):
    """What the send path needs to know of a valid key.

    `plan`, `quiet_hours`, `is_project_open`: its project's.
    """

    id: UUID
    project_id: UUID
    name: str
    kind: str
    mode: str
    scopes: list[str]
    allowed_origins: list[str]
    rate_limit: int | None
    expires_at: datetime | None
    plan: str
    quiet_hours: JsonObject | None
    is_project_open: bool


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
    # The text before the last regeneration; refused as expired from `previous_expires_at` on.
    previous_hash: bytes | None = Field(default=None, unique=True)
    previous_expires_at: datetime | None = Field(default=None, sa_type=Timestamp)
    total_requests: int = Field(default=0, sa_type=BigInteger)
    failed_requests: int = Field(default=0, sa_type=BigInteger)

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID, key_id: UUID) -> Self | None:
        query = select(cls).where(
            col(cls.project_id) == project_id, col(cls.id) == key_id, col(cls.deleted_at).is_(None)
        )
        return (await session.exec(query)).first()

    @staticmethod
    async def callers(pool: RawPool, key_hashes: list[bytes]) -> dict[bytes, KeyRow]:
        """Return who calls, by hash, for the keys that are valid; one statement for all, without
        the ORM.

        By the hash of a text before the last regeneration the key expires when the overlap ends.
        """
        async with pool.connection() as connection:
            cursor = await connection.execute(_CALLERS, {"hashes": key_hashes}, prepare=True)
            rows = await cursor.fetchall()
        result: dict[bytes, KeyRow] = {}
        for key_hash, previous_hash, previous_expires_at, *fields in rows:
            caller = result[bytes(key_hash)] = KeyRow(*fields)
            if previous_hash is not None and previous_expires_at is not None:
                ends_at = min(previous_expires_at, caller.expires_at or previous_expires_at)
                result[bytes(previous_hash)] = caller._replace(expires_at=ends_at)
        return result

    @classmethod
    async def list_for_project(cls, session: AsyncSession, project_id: UUID) -> list[Self]:
        query = select(cls).where(col(cls.project_id) == project_id, col(cls.deleted_at).is_(None))
        return list((await session.exec(query.order_by(col(cls.id).desc()))).all())

    @classmethod
    async def count_for_project(cls, session: AsyncSession, project_id: UUID) -> int:
        query = select(func.count()).where(
            col(cls.project_id) == project_id, col(cls.deleted_at).is_(None)
        )
        return (await session.exec(query)).one()
