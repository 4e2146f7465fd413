"""Claims: leases on queue rows. A result must carry its claim; a lost lease cannot write.

    due -> claimed -> in_flight -> (deleted | due again | watched)
    watched -> (deleted | due again), under a claim too, where `due_at` moved on is the lease

No provider has seen a claimed row yet: after a crash it is sent again. One may have seen a row in
flight: after a crash it is uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import structlog
from psycopg.rows import kwargs_row, scalar_row

from backend.ids import new_id
from backend.ledger.unreadable import set_aside
from backend.models.project import IS_OPEN
from backend.models.recordset import SMALLINT, recordset
from backend.models.send_queue import CLAIMED, DUE, IN_FLIGHT, WATCHED
from backend.models.session import RawPool
from backend.outages import is_outage
from backend.queueing import Turn
from backend.status import Status

log = structlog.get_logger()

# What one turn may claim at most.
MOST_OF_A_TURN: Final = 100
# Nothing is left to send of these, whichever way it went.
SETTLED: Final = frozenset({Status.DELIVERED, Status.READ, Status.CANCELED})


@dataclass(frozen=True, slots=True)
class Claim:
    """One message that this worker may send, until its lease ends. `tries` counts this one."""

    number: UUID
    message_id: UUID
    project_id: UUID
    connector_id: UUID
    lane: int
    tries: int
    attempt_number: int
    recipient: str
    content: dict[str, Any]
    status: str
    on_uncertain: str
    created_at: datetime  # or the time it was scheduled for: its age counts from there
    expires_at: datetime | None
    route: dict[str, Any] | None = None
    step: int = 0
    # How far the database's clock is ahead of this machine's.
    skew: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Return the time by the database's clock, which decides: those of the machines may
        differ.
        """
        return datetime.now(UTC) + self.skew


@dataclass(frozen=True, slots=True)
class Watched:
    """A claim of a message that was handed over, or may have been; `sent_ago_s` since its last
    attempt ended.
    """

    claim: Claim
    is_uncertain: bool
    sent_ago_s: float


@dataclass(frozen=True, slots=True)
class _TurnRow:
    lane: Annotated[int, SMALLINT]
    connector_id: UUID
    most: int


@dataclass(frozen=True, slots=True)
class _ReleasedRow:
    message_id: UUID
    claim: UUID
    delay_s: float


# Watched messages of one claim.
MOST_WATCHED: Final = 500
# The columns of a Claim, and the database's time.
_COLUMNS: Final = """
    %(number)s::uuid AS number, c.message_id, c.project_id, c.connector_id, c.lane, c.tries,
    m.attempts + 1 AS attempt_number, m.recipient, m.content, m.status, m.on_uncertain,
    coalesce(m.send_at, m.created_at) AS created_at, m.expires_at, m.route, m.step,
    clock_timestamp() AS database_time
"""

# Driven by the index on (lane, connector_id, due_at, message_id): LATERAL with a limit for each
# turn, and a MATERIALIZED CTE so that the rows locked are exactly the rows claimed. Messages are
# fetched one by one through their primary key, which also picks the partition at run time. The
# planner must know a limit in numbers, or it expects a tenth of the queue and reads all of it; rows
# beyond the outer limit are not even locked. Whether the project is open is looked up for each
# turn: what was switched off is not claimed from its commit on, whatever is cached.
_PICKED: Final = f"""
    SELECT q.message_id
    FROM {recordset(_TurnRow, "t", "turns")}
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT {IS_OPEN} FROM connectors c JOIN projects p ON p.id = c.project_id
            WHERE c.id = t.connector_id), true) AS is_open OFFSET 0
    ) project
    CROSS JOIN LATERAL (
        SELECT message_id FROM (
            SELECT message_id FROM send_queue
            WHERE state = {DUE} AND lane = t.lane AND connector_id = t.connector_id
                AND due_at <= now()
            ORDER BY due_at, message_id LIMIT {MOST_OF_A_TURN}
            FOR UPDATE SKIP LOCKED
        ) oldest LIMIT CASE WHEN project.is_open THEN t.most ELSE 0 END
    ) q
"""


def _claiming(picked: str) -> str:
    """Return the statement that leases the due rows that `picked` locks."""
    return f"""
WITH picked AS MATERIALIZED ({picked}), claimed AS (
    UPDATE send_queue q
    SET state = {CLAIMED}, claim = %(number)s, tries = tries + 1,
        lease_until = now() + make_interval(secs => %(lease_s)s)
    FROM picked WHERE q.message_id = picked.message_id
    RETURNING q.message_id, q.project_id, q.connector_id, q.lane, q.tries
)
SELECT {_COLUMNS} FROM claimed c
CROSS JOIN LATERAL (SELECT * FROM messages WHERE messages.id = c.message_id LIMIT 1) m
"""


def _single(condition: str) -> str:
    """Return the SELECT that locks one message's row, where a statement for all of them is refused
    because of what one row holds.
    """
    return (
        f"SELECT message_id FROM send_queue WHERE message_id = %(message_id)s AND {condition}"
        " FOR UPDATE SKIP LOCKED"
    )


_CLAIM: Final = _claiming(_PICKED)
_CLAIM_SINGLE: Final = _claiming(_single(f"state = {DUE}"))
_DUE_IDS: Final = f"""
SELECT message_id FROM send_queue WHERE state = {DUE} AND lane = %s AND connector_id = %s
    AND due_at <= now()
ORDER BY due_at, message_id LIMIT {MOST_OF_A_TURN}
"""

# Settled by a receipt that met the row claimed, or due for another way.
_DROP_SETTLED: Final = "DELETE FROM send_queue WHERE message_id = ANY(%s) AND claim = %s"

_WATCHED_IDS: Final = f"""
    SELECT message_id FROM send_queue WHERE state = {WATCHED} AND due_at <= now() ORDER BY due_at
        LIMIT {MOST_WATCHED}
"""


def _watching(picked: str) -> str:
    """Return the statement that leases the watched rows that `picked` locks.

    A provider's id says that the last attempt's outcome is known after all.
    """
    return f"""
WITH picked AS MATERIALIZED ({picked}), claimed AS (
    UPDATE send_queue q
    SET claim = %(number)s, due_at = now() + make_interval(secs => %(lease_s)s)
    FROM picked WHERE q.message_id = picked.message_id
    RETURNING q.message_id, q.project_id, q.connector_id, q.lane, q.tries
)
SELECT coalesce(a.outcome = 'uncertain' AND m.provider_message_id IS NULL, false) AS is_uncertain,
    coalesce(extract(epoch FROM now() - a.started_at) - a.duration_ms / 1000, 0)::float8
        AS sent_ago_s, {_COLUMNS}
FROM claimed c
CROSS JOIN LATERAL (SELECT * FROM messages WHERE messages.id = c.message_id LIMIT 1) m
LEFT JOIN LATERAL (
    SELECT outcome, started_at, duration_ms FROM attempts
    WHERE attempts.message_id = c.message_id AND attempts.id >= c.message_id ORDER BY id DESC
        LIMIT 1
) a ON true
"""


_WATCH: Final = _watching(f"{_WATCHED_IDS} FOR UPDATE SKIP LOCKED")
_WATCH_SINGLE: Final = _watching(_single(f"state = {WATCHED} AND due_at <= now()"))

_MARK_IN_FLIGHT: Final = f"""
UPDATE send_queue SET state = {IN_FLIGHT}
WHERE message_id = ANY(%s) AND claim = %s AND state = {CLAIMED}
RETURNING message_id
"""

# What is locked is being recorded, and needs no lease any more.
_RENEW: Final = f"""
WITH held AS MATERIALIZED (
    SELECT message_id FROM send_queue
    WHERE message_id = ANY(%(ids)s) AND claim = ANY(%(numbers)s) AND state <> {DUE}
    ORDER BY message_id FOR UPDATE SKIP LOCKED
)
UPDATE send_queue q SET lease_until = now() + make_interval(secs => %(lease_s)s)
FROM held WHERE q.message_id = held.message_id
"""

# `tries - 1`: what was not sent is not a try.
_RELEASE: Final = f"""
UPDATE send_queue q
SET state = {DUE}, claim = NULL, lease_until = NULL, tries = greatest(0, tries - 1),
    due_at = now() + make_interval(secs => r.delay_s)
FROM {recordset(_ReleasedRow, "r")}
WHERE q.message_id = r.message_id AND q.claim = r.claim
"""


class Claims:
    def __init__(self, pool: RawPool, *, lease_s: float) -> None:
        self._pool = pool
        self._lease_s = lease_s

    async def take(
        self, turns: Sequence[Turn], most_each: int, *, at_most: Mapping[Turn, int] | None = None
    ) -> list[Claim]:
        """Lease up to `most_each` due messages of each turn, oldest first; of the turns in
        `at_most` only as many as it says.

        A message whose row spoils the statement is set aside. Raises what an outage raises, and
        nothing else.
        """
        fewer = at_most or {}
        rows = [_TurnRow(*turn, fewer.get(turn, most_each)) for turn in turns]
        try:
            return await self._claim(_CLAIM, {"turns": orjson.dumps(rows).decode()})
        except Exception as exc:
            if is_outage(exc):
                raise
            log.warning("claim.refused", error=type(exc).__name__, turns=len(turns))
        claims: list[Claim] = []
        for turn in turns:
            claims += await self._take_one_by_one(turn, fewer.get(turn, most_each))
        return claims

    async def watch(self) -> list[Watched]:
        """Lease up to MOST_WATCHED watched messages whose time has come; no other worker
        decides about them meanwhile.

        As `take`, it sets aside what spoils the statement.
        """
        try:
            return await self._watch(_WATCH, {})
        except Exception as exc:
            if is_outage(exc):
                raise
            log.warning("watch.refused", error=type(exc).__name__)
        watched: list[Watched] = []
        for message_id in await self._ids(_WATCHED_IDS, ()):
            try:
                watched += await self._watch(_WATCH_SINGLE, {"message_id": message_id})
            except Exception as exc:
                if is_outage(exc):
                    raise
                await set_aside(self._pool, message_id, exc)
        return watched

    async def _take_one_by_one(self, turn: Turn, most: int) -> list[Claim]:
        claims: list[Claim] = []
        for message_id in (await self._ids(_DUE_IDS, turn))[:most]:
            try:
                claims += await self._claim(_CLAIM_SINGLE, {"message_id": message_id})
            except Exception as exc:
                if is_outage(exc):
                    raise
                await set_aside(self._pool, message_id, exc)
        return claims

    async def _claim(self, statement: str, parameters: dict[str, Any]) -> list[Claim]:
        number = new_id()
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=kwargs_row(_claim))
            await cursor.execute(
                statement, {**parameters, "number": number, "lease_s": self._lease_s}, prepare=True
            )
            claims = await cursor.fetchall()
            settled = [claim.message_id for claim in claims if claim.status in SETTLED]
            if settled:
                await connection.execute(_DROP_SETTLED, (settled, number))
                claims = [claim for claim in claims if claim.status not in SETTLED]
            return claims

    async def _watch(self, statement: str, parameters: dict[str, Any]) -> list[Watched]:
        number = new_id()
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=kwargs_row(_watched))
            await cursor.execute(
                statement, {**parameters, "number": number, "lease_s": self._lease_s}, prepare=True
            )
            return await cursor.fetchall()

    async def _ids(self, statement: str, parameters: tuple[Any, ...]) -> list[UUID]:
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()

    async def mark_in_flight(self, claims: Sequence[Claim]) -> set[UUID]:
        """Return the messages that are still ours, now marked; only these may be sent."""
        numbers = {claim.number for claim in claims}
        ours: set[UUID] = set()
        async with self._pool.connection() as connection:
            for number in numbers:
                ids = [claim.message_id for claim in claims if claim.number == number]
                cursor = connection.cursor(row_factory=scalar_row)
                await cursor.execute(_MARK_IN_FLIGHT, (ids, number), prepare=True)
                ours.update(await cursor.fetchall())
        return ours

    async def renew(self, claims: Sequence[Claim]) -> None:
        ids = [claim.message_id for claim in claims]
        numbers = list({claim.number for claim in claims})
        async with self._pool.connection() as connection:
            await connection.execute(
                _RENEW, {"ids": ids, "numbers": numbers, "lease_s": self._lease_s}
            )

    async def release(
        self, claims: Sequence[Claim], *, delays_s: Mapping[UUID, float] | None = None
    ) -> None:
        """Give back what was surely not sent, due at once or after its own delay of `delays_s`."""
        later = delays_s or {}
        rows = [
            _ReleasedRow(claim.message_id, claim.number, later.get(claim.message_id, 0.0))
            for claim in claims
        ]
        async with self._pool.connection() as connection:
            await connection.execute(_RELEASE, {"rows": orjson.dumps(rows).decode()})


def _claim(*, database_time: datetime, **columns: Any) -> Claim:
    return Claim(**columns, skew=database_time - datetime.now(UTC))


def _watched(*, is_uncertain: bool, sent_ago_s: float, **columns: Any) -> Watched:
    return Watched(_claim(**columns), is_uncertain, sent_ago_s)
