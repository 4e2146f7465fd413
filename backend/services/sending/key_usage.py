"""When each key was last used: noted in memory, written every few seconds, never on the send path."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import orjson
import psycopg
import structlog

from backend.models.session import RawPool

log = structlog.get_logger()

_FLUSH_EVERY_S: Final = 5.0
_TOUCH: Final = """
UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, u.used_at)
FROM (SELECT * FROM json_to_recordset(%s::json) AS r(id uuid, used_at timestamptz) ORDER BY id) u
WHERE k.id = u.id
"""


class KeyUsage:
    def __init__(self, pool: RawPool) -> None:
        self._pool = pool
        self._used: set[UUID] = set()

    def note(self, key_id: UUID) -> None:
        self._used.add(key_id)

    async def run(self) -> None:
        """Flush until cancelled; the last notes are written on the way out."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_EVERY_S)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        if not self._used:
            return
        used, self._used = self._used, set()
        now = datetime.now(UTC)
        rows = orjson.dumps([{"id": key_id, "used_at": now} for key_id in used]).decode()
        try:
            async with self._pool.connection() as connection:
                await connection.execute(_TOUCH, (rows,))
        except psycopg.OperationalError as exc:
            self._used |= used
            log.warning("key_usage.database_away", error=type(exc).__name__, keys=len(used))
