"""What the database needs done every minute: partitions ahead, and old rows cleared away.

Each step is a background task of its own, in whichever worker holds the step's advisory lock: one
that fails is reported by name in /readyz and stops no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import psycopg
import structlog
from psycopg.errors import LockNotAvailable

from backend.ledger.hold import settle_forgotten
from backend.models.partitions import PARTITIONED, make_partition, missing_months
from backend.models.session import RawPool
from backend.process.advisory_locks import AdvisoryLock, try_hold
from backend.process.background import BackgroundTasks
from backend.process.rounds import Rounds

log = structlog.get_logger()

Chore = Callable[[psycopg.AsyncConnection[Any]], Awaitable[None]]

_EVERY_S: Final = 60.0
# Apart, so that a start does not take a connection for each at once.
_APART_S: Final = 0.2

_FORGET_KEYS: Final = """
DELETE FROM idempotency_records WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency_records WHERE expires_at < now() LIMIT 5000))
"""
# An hour more than they can be valid: a web server's clock may be behind the database's.
_FORGET_USED_TOKENS: Final = """
DELETE FROM used_tokens WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM used_tokens WHERE expires_at < now() - interval '1 hour' LIMIT 5000))
"""
# A log-in's tokens live longer than its last use is worth knowing; the family goes with them.
_FORGET_TOKENS: Final = """
DELETE FROM refresh_tokens WHERE token_hash = ANY(ARRAY(
    SELECT token_hash FROM refresh_tokens WHERE expires_at < now() - interval '1 day' LIMIT 5000))
"""
_FORGET_SESSIONS: Final = """
DELETE FROM sessions WHERE id = ANY(ARRAY(
    SELECT id FROM sessions s WHERE expires_at < now() - interval '7 days'
    AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.session_id = s.id) LIMIT 5000))
"""
# Processes that were killed and could not take their rows away themselves.
_FORGET_PROCESSES: Final = "DELETE FROM processes WHERE beat_at < now() - interval '1 hour'"


async def keep_partitions(
    table: str, connection: psycopg.AsyncConnection[Any], now: datetime | None = None
) -> None:
    """Make the months ahead, and those of rows that had to go to DEFAULT, with these rows moved to
    them.

    A month that cannot be made stops no other; the first error is raised at the end.
    """
    errors: list[Exception] = []
    for start in await missing_months(connection, table, now or datetime.now(UTC)):
        try:
            moved = await make_partition(connection, table, start)
        except LockNotAvailable:
            # A long reader, such as a dump. There are months of time, and sends must not wait
            # behind us.
            log.warning("maintenance.table_locked", table=table, month=f"{start:%Y-%m}")
            break
        except Exception as exc:  # noqa: BLE001 (raised below)
            errors.append(exc)
        else:
            if moved:
                log.warning(
                    "maintenance.rows_moved", table=table, month=f"{start:%Y-%m}", rows=moved
                )
    if errors:
        raise errors[0]


async def _delete(query: Any, connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.execute(query)


STEPS: Final[dict[str, Chore]] = {
    **{f"maintain-partitions-of-{table}": partial(keep_partitions, table) for table in PARTITIONED},
    "maintain-idempotency-keys": partial(_delete, _FORGET_KEYS),
    "maintain-used-tokens": partial(_delete, _FORGET_USED_TOKENS),
    "maintain-refresh-tokens": partial(_delete, _FORGET_TOKENS),
    "maintain-sessions": partial(_delete, _FORGET_SESSIONS),
    "maintain-processes": partial(_delete, _FORGET_PROCESSES),
    "maintain-held-messages": settle_forgotten,
}


class Maintenance:
    def __init__(self, pool: RawPool, more: Mapping[str, Chore] | None = None) -> None:
        """`more`: steps beside STEPS, which need more than a connection."""
        self._pool = pool
        self._steps = {**STEPS, **(more or {})}

    def start(self, background: BackgroundTasks) -> None:
        """Start every step; one that fails is tried again after the pause of `background`."""
        for place, name in enumerate(self._steps):
            background.start(name, partial(self._keep_up, name, place * _APART_S))

    async def run_step(self, name: str) -> bool:
        """Do one step; False when another worker does it."""
        place = list(self._steps).index(name)
        async with (
            self._pool.connection() as connection,
            try_hold(connection, AdvisoryLock.MAINTENANCE, place) as is_ours,
        ):
            if is_ours:
                await self._steps[name](connection)
            return is_ours

    async def _keep_up(self, name: str, first_after_s: float) -> None:
        async def work() -> None:
            await self.run_step(name)

        await Rounds(_EVERY_S, work, first_after_s=first_after_s).run()
