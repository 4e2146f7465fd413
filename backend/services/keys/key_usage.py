"""What each key did and when it was last used: counted in memory, written every few seconds, never
on the send path.

A process that is killed loses what it counted since the last flush: up to five seconds of its
traffic. Nothing is decided by these numbers; limits have counters of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

import orjson
import structlog

from backend.models.recordset import BIGINT, recordset
from backend.models.session import RawPool
from backend.outages import is_outage
from backend.process.rounds import Rounds

log = structlog.get_logger()

_FLUSH_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Used:
    id: UUID
    used_at: datetime
    total: Annotated[int, BIGINT]
    failed: Annotated[int, BIGINT]


_ADD: Final = f"""
UPDATE api_keys k
SET last_used_at = greatest(k.last_used_at, u.used_at),
    total_requests = k.total_requests + u.total,
    failed_requests = k.failed_requests + u.failed
FROM (
    SELECT * FROM {recordset(_Used, "r")}
    ORDER BY id
) u
WHERE k.id = u.id
"""  # noqa: S608 (made of constants)


@dataclass(slots=True)
class _Count:
    total: int = 0
    failed: int = 0


class KeyUsage:
    def __init__(self, pool: RawPool) -> None:
        self._pool = pool
        self._counts: dict[UUID, _Count] = {}

    def note(self, key_id: UUID, *, is_failed: bool = False) -> None:
        """Count one request of a valid key; `is_failed`: it was refused, or could not be stored."""
        count = self._counts.get(key_id)
        if count is None:
            count = self._counts[key_id] = _Count()
        count.total += 1
        count.failed += is_failed

    async def run(self) -> None:
        """Flush until cancelled; the last counts are written on the way out."""
        try:
            await Rounds(_FLUSH_EVERY_S, self.flush, first_after_s=_FLUSH_EVERY_S).run()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Add what was counted to the rows; what the database does not take is kept for the next
        time.
        """
        if not self._counts:
            return
        counts, self._counts = self._counts, {}
        now = datetime.now(UTC)
        rows = [_Used(key_id, now, count.total, count.failed) for key_id, count in counts.items()]
        try:
            async with self._pool.connection() as connection:
                await connection.execute(_ADD, {"rows": orjson.dumps(rows).decode()})
        except Exception as exc:
            if not is_outage(exc):
                # These counts are lost; the next ones are not.
                log.exception("key_usage.refused", keys=len(counts))
                return
            for key_id, lost in counts.items():
                count = self._counts.setdefault(key_id, _Count())
                count.total += lost.total
                count.failed += lost.failed
            log.warning("key_usage.database_away", error=type(exc).__name__, keys=len(counts))
