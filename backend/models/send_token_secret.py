"""What the send tokens of one secret key are signed with, so that its holder can make some without
asking us.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlmodel import Field, SQLModel, col, delete
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Timestamp, utc_now
from backend.models.project import IS_OPEN
from backend.models.session import RawPool

# Bound to the key's text, not to its row: after a regeneration each text has its own, as long as it
# works.
_SIGNER: Final = f"""
SELECT s.secret_encrypted, k.id, k.project_id, k.name, k.mode, k.scopes,
       CASE WHEN s.key_hash = k.key_hash THEN k.expires_at
           ELSE least(k.previous_expires_at, k.expires_at) END
FROM send_token_secrets s
JOIN api_keys k ON k.id = s.key_id AND (k.key_hash = s.key_hash OR k.previous_hash = s.key_hash)
JOIN projects p ON p.id = k.project_id
WHERE s.kid = %s AND k.kind = 'secret'
  AND k.is_active AND k.deleted_at IS NULL AND {IS_OPEN}
"""  # noqa: S608 (made of constants)
_KEEP: Final = """
INSERT INTO send_token_secrets (kid, key_id, project_id, key_hash, secret_encrypted, created_at)
VALUES (%s, %s, %s, %s, %s, now()) ON CONFLICT (kid) DO NOTHING
"""


class Signer(NamedTuple):
    """The key behind a `kid`, and what its tokens are signed with, still encrypted."""

    secret_encrypted: str
    key_id: UUID
    project_id: UUID
    name: str
    mode: str
    scopes: list[str]
    expires_at: datetime | None


class SendTokenSecret(SQLModel, table=True):
    __tablename__ = "send_token_secrets"

    kid: str = Field(primary_key=True, max_length=40)
    key_id: UUID = Field(foreign_key="api_keys.id", index=True)
    project_id: UUID = Field(foreign_key="projects.id")
    key_hash: bytes
    secret_encrypted: str
    created_at: datetime = Field(default_factory=utc_now, sa_type=Timestamp)

    @staticmethod
    async def signer(pool: RawPool, kid: str) -> Signer | None:
        """Return who signs under `kid`, None when no valid secret key does.

        Across tenants, as keys are found.
        """
        async with pool.connection() as connection:
            row = await (await connection.execute(_SIGNER, (kid,))).fetchone()
        return Signer(*row) if row is not None else None

    @staticmethod
    async def keep(
        pool: RawPool,
        *,
        kid: str,
        key_id: UUID,
        project_id: UUID,
        key_hash: bytes,
        secret_encrypted: str,
    ) -> None:
        """Store one that is not there yet; committed on return."""
        async with pool.connection() as connection:
            await connection.execute(_KEEP, (kid, key_id, project_id, key_hash, secret_encrypted))

    @classmethod
    async def drop_except(cls, session: AsyncSession, key_id: UUID, *key_hashes: bytes) -> None:
        """Delete the key's secrets but those of the texts that still work."""
        await session.exec(
            delete(cls).where(col(cls.key_id) == key_id, col(cls.key_hash).not_in(key_hashes))
        )
