"""Counters of messages, kept up to date: deltas are folded in the background, and reading adds the
rest.

Every change of a message writes its delta in its own transaction (triggers, migration 0005). A fold
moves deltas into counters in one transaction, and a reader sees both in one snapshot: exact at any
moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.message_rollup import (
    FAILURE,
    HALF_PAST,
    QUARTER_PAST,
    STATUS,
    TO_DELIVERY,
    TO_PROVIDER,
)
from backend.models.session import RawPool
from backend.outages import is_outage
from backend.process.advisory_locks import AdvisoryLock, hold, try_lock
from backend.process.rounds import Rounds, log_failures
from backend.services.reporting.periods import Span

log = structlog.get_logger()

MEASURES: Final = (STATUS, FAILURE, TO_PROVIDER, TO_DELIVERY)
_HOUR: Final = timedelta(hours=1)
# The grain of hours that begin so many minutes past the full one (UTC).
_HOURS_FROM: Final = {0: 60, 15: QUARTER_PAST, 30: HALF_PAST}
_EVERY_S: Final = 2.0
_BATCH: Final = 20_000
# Deltas come and go; what they leave behind would slow down reading them long before autovacuum
# looks.
_VACUUM_AFTER: Final = 50_000
# Bins of times grow by 2^(1/8) (migration 0005), so that a percentile is at most 4.5 % off.
_BINS_PER_OCTAVE: Final = 8

_COLUMNS: Final = (
    "project_id, measure, grain, slot, connector_id, mode, value, connector_type, messages, last_at"
)
# Times are not kept by the quarter: their many bins would take more room than the messages. Hours
# that begin off the full one are for series, which are of statuses.
_SUMMED: Final = f"""
SELECT d.project_id, d.measure, g.grain,
    date_bin(make_interval(mins => g.minutes), d.slot, '2000-01-01+00'::timestamptz +
        make_interval(mins => g.past))
        AS slot,
    d.connector_id, d.mode, d.value, min(d.connector_type) AS connector_type,
        sum(d.messages) AS messages,
    max(d.last_at) AS last_at
FROM {{deltas}} d
JOIN (VALUES (15, 15, 0), (60, 60, 0), (1440, 1440, 0), ({QUARTER_PAST}, 60, 15), ({HALF_PAST}, 60,
    30))
    AS g (grain, minutes, past)
    ON CASE g.grain WHEN 15 THEN d.measure NOT IN ('{TO_PROVIDER}', '{TO_DELIVERY}')
        WHEN {HALF_PAST} THEN d.measure = '{STATUS}' WHEN {QUARTER_PAST} THEN d.measure = '{STATUS}'
            ELSE true END
GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(d.messages) <> 0
"""  # noqa: S608 (made of constants)
_MERGING: Final = f"""
WITH taken AS (
    DELETE FROM rollup_deltas WHERE ctid = ANY(ARRAY(SELECT ctid
        FROM rollup_deltas {{of}}LIMIT %(most)s)) RETURNING *
)
MERGE INTO message_rollups r USING ({_SUMMED.format(deltas="taken")}) s
ON r.project_id = s.project_id AND r.measure = s.measure AND r.grain = s.grain AND r.slot = s.slot
    AND r.connector_id = s.connector_id AND r.mode = s.mode AND r.value = s.value
WHEN MATCHED AND r.messages + s.messages = 0 THEN DELETE
WHEN MATCHED THEN UPDATE SET messages = r.messages + s.messages,
    last_at = greatest(r.last_at, s.last_at)
WHEN NOT MATCHED THEN INSERT ({_COLUMNS})
VALUES (s.project_id, s.measure, s.grain, s.slot, s.connector_id, s.mode, s.value, s.connector_type,
    s.messages,
    s.last_at)
"""  # noqa: S608 (made of constants)
_MERGE: Final = _MERGING.format(of="")
_MERGE_OF_PROJECT: Final = _MERGING.format(of="WHERE project_id = %(project_id)s ")
_WAITING: Final = "SELECT count(*) FROM (SELECT FROM rollup_deltas LIMIT %s) waiting"
_PROJECTS: Final = "SELECT DISTINCT project_id FROM rollup_deltas"

# As the triggers count (migration 0005), but each message as it stands.
_BIN: Final = (
    "floor(11.541560327111707 * ln(greatest(1.0::float8, "
    "1000 * extract(epoch FROM {end} - greatest(created_at, send_at))::float8)))::int::text"
)
_COUNT_ALL: Final = f"""
INSERT INTO message_rollups ({_COLUMNS})
WITH counted AS MATERIALIZED (
    SELECT project_id, date_bin('15 minutes', created_at, '2000-01-01+00') AS slot, connector_id,
        connector_type, mode,
        f.measure, f.value, count(*) AS messages, max(f.last_at) AS last_at
    FROM messages CROSS JOIN LATERAL (
        SELECT '{STATUS}', status, NULL::timestamptz
        UNION ALL SELECT '{FAILURE}', coalesce(error_code, ''), NULL
            WHERE status IN ('failed', 'undelivered', 'expired')
        UNION ALL SELECT '{TO_PROVIDER}', {_BIN.format(end="sent_at")}, sent_at
            WHERE sent_at IS NOT NULL
        UNION ALL SELECT '{TO_DELIVERY}', {_BIN.format(end="delivered_at")}, NULL
            WHERE delivered_at IS NOT NULL
    ) f (measure, value, last_at)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
)
{_SUMMED.format(deltas="counted")}
"""  # noqa: S608 (made of constants)

_SCOPED: Final = """
    AND (CAST(:mode AS text) IS NULL OR {row}.mode = :mode)
    AND (CAST(:connector_id AS uuid) IS NULL OR {row}.connector_id = :connector_id)
    AND (CAST(:connector_type AS text) IS NULL OR {row}.connector_type = :connector_type)
"""
# One statement, so that counters and deltas are of one snapshot. LATERAL with its own GROUP BY
# walks the primary key once for each piece, whatever the planner thinks of arrays.
_READ: Final = text(f"""
SELECT p.ask, c.slot, NULL::timestamptz AS waiting_in, p.measure, c.connector_id, c.connector_type,
    c.value,
    sum(c.messages)::bigint AS messages, max(c.last_at) AS last_at
FROM unnest(CAST(:asks AS int[]), CAST(:measures AS text[]), CAST(:by_connector AS bool[]),
    CAST(:by_hour AS bool[]),
    CAST(:grains AS int[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
    AS p (ask, measure, by_connector, by_hour, grain, starts_at, ends_at)
CROSS JOIN LATERAL (
    SELECT CASE WHEN p.by_hour THEN date_bin('1 hour', r.slot, p.starts_at) END AS slot,
        CASE WHEN p.by_connector THEN r.connector_id END AS connector_id,
        CASE WHEN p.by_connector THEN r.connector_type END AS connector_type,
        r.value, sum(r.messages) AS messages, max(r.last_at) AS last_at
    FROM message_rollups r
    WHERE r.project_id = :project_id AND r.measure = p.measure AND r.grain = p.grain
        AND r.slot >= p.starts_at AND r.slot < p.ends_at {_SCOPED.format(row="r")}
    GROUP BY 1, 2, 3, 4
) c
GROUP BY 1, 2, 4, 5, 6, 7
UNION ALL
SELECT NULL, NULL, d.slot, d.measure, d.connector_id, d.connector_type, d.value,
    sum(d.messages)::bigint, max(d.last_at)
FROM rollup_deltas d
WHERE d.project_id = :project_id
    AND d.measure = ANY(CAST(:measures AS text[])) {_SCOPED.format(row="d")}
GROUP BY 3, 4, 5, 6, 7
""")  # noqa: S608 (made of constants)


_What = tuple[datetime | None, str, UUID | None, str | None, str]  # the first fields of a Count


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose messages are counted. `connector` is an id or a type."""

    project_id: UUID
    mode: str | None = None
    connector: UUID | str | None = None

    def parameters(self) -> dict[str, Any]:
        is_id = isinstance(self.connector, UUID)
        return {
            "project_id": self.project_id,
            "mode": self.mode,
            "connector_id": self.connector if is_id else None,
            "connector_type": None if is_id else self.connector,
        }


@dataclass(frozen=True, slots=True)
class Ask:
    """What is selection of a span.

    Not `by_connector`: all connectors in one, which is quicker to hand over.

    `by_hour`: counts for each 60 minutes from the span's start.
    """

    span: Span
    measures: tuple[str, ...] = (STATUS,)
    by_connector: bool = False
    by_hour: bool = False

    def hour_of(self, slot: datetime) -> datetime | None:
        return self.span.start + (slot - self.span.start) // _HOUR * _HOUR if self.by_hour else None

    def pieces(self, measure: str) -> Iterator[tuple[int, datetime, datetime]]:
        span = self.span_of(measure)
        if not self.by_hour:
            return span.pieces()
        # One piece, whose grain fits the hours.
        return iter([(_HOURS_FROM.get(span.start.minute, 15), span.start, span.end)])

    def span_of(self, measure: str) -> Span:
        """Times are kept by the hour: theirs are the full hours (UTC) that the span touches."""
        return self.span.full_hours() if measure in {TO_PROVIDER, TO_DELIVERY} else self.span


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages have `value` as their `measure`; None is what was not asked for."""

    hour: datetime | None
    measure: str
    connector_id: UUID | None
    connector_type: str | None
    value: str
    messages: int
    last_at: datetime | None


async def count_messages(
    session: AsyncSession, scope: Scope, asks: Sequence[Ask]
) -> list[list[Count]]:
    """Return the counts of each ask, in its order.

    One snapshot: the answers agree with each other.
    """
    connection = await session.connection()
    rows = (await connection.execute(_READ, {**scope.parameters(), **_pieces(asks)})).all()
    counted: list[list[Count]] = [[] for _ in asks]
    waiting: dict[tuple[str, datetime], list[tuple[_What, int, datetime | None]]] = {}
    for number, hour, slot, measure, *rest in rows:
        if slot is None:
            counted[number].append(Count(hour, measure, *rest))
        else:
            connector_id, connector_type, value, messages, last_at = rest
            what = (None, measure, connector_id, connector_type, value)
            waiting.setdefault((measure, slot), []).append((what, messages, last_at))
    return [_with_waiting(ask, counts, waiting) for ask, counts in zip(asks, counted, strict=True)]


def _pieces(asks: Sequence[Ask]) -> dict[str, list[Any]]:
    names = ("asks", "measures", "by_connector", "by_hour", "grains", "starts", "ends")
    rows = [
        (number, measure, ask.by_connector, ask.by_hour, *piece)
        for number, ask in enumerate(asks)
        for measure in ask.measures
        for piece in ask.pieces(measure)
    ]
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def _with_waiting(
    ask: Ask,
    counts: list[Count],
    waiting: Mapping[tuple[str, datetime], list[tuple[_What, int, datetime | None]]],
) -> list[Count]:
    """Add what is not folded yet; nearly always that is a quarter hour or none."""
    of_ask = {
        place: deltas
        for place, deltas in waiting.items()
        if place[0] in ask.measures and place[1] in ask.span_of(place[0])
    }
    if not of_ask:
        return [count for count in counts if count.messages]
    answer: dict[_What, tuple[int, datetime | None]] = {
        (count.hour, count.measure, count.connector_id, count.connector_type, count.value): (
            count.messages,
            count.last_at,
        )
        for count in counts
    }
    for (_, slot), deltas in of_ask.items():
        _add(answer, ask, slot, deltas)
    return [
        Count(*what, messages, last_at) for what, (messages, last_at) in answer.items() if messages
    ]


def _add(
    answer: dict[_What, tuple[int, datetime | None]],
    ask: Ask,
    slot: datetime,
    deltas: Sequence[tuple[_What, int, datetime | None]],
) -> None:
    hour = ask.hour_of(slot)
    for (_, measure, connector_id, connector_type, value), messages, last_at in deltas:
        what = (
            hour,
            measure,
            *((connector_id, connector_type) if ask.by_connector else (None, None)),
            value,
        )
        before, earlier = answer.get(what, (0, None))
        answer[what] = (before + messages, _later(earlier, last_at))


def _later(item: datetime | None, other: datetime | None) -> datetime | None:
    return max(item, other) if item is not None and other is not None else item or other


def percentile_ms(bins: Mapping[str, int], share: float) -> float | None:
    """Return the time that `share` (0 to 1) of the messages stayed within, None without any.

    The middle of its bin: at most 4.5 % off; all under a millisecond count as one.
    """
    total = sum(bins.values())
    if total <= 0:
        return None
    seen = 0
    expected = share * (total - 1)
    for number, messages in sorted((int(value), messages) for value, messages in bins.items()):
        seen += messages
        if seen > expected:
            return float(2.0 ** ((number + 0.5) / _BINS_PER_OCTAVE))
    raise AssertionError("a share above 1 was asked for")


class RollupFolder:
    """Moves deltas into counters, in whichever worker holds the lock.

    A crash leaves them as they were.
    """

    def __init__(self, pool: RawPool) -> None:
        self._pool = pool
        self._folded_since_vacuum = 0

    async def run(self) -> None:
        """Fold every two seconds until cancelled; a failed round is logged and the next one tries
        again.
        """
        report = log_failures(away="rollups.database_away", failed="rollups.fold_failed")
        await Rounds(_EVERY_S, self._round, on_error=report).run()

    async def _round(self) -> None:
        await self.fold()

    async def fold(self) -> int:
        """Fold what there is; returns the number of deltas, 0 when another worker is at it."""
        folded = 0
        async with self._pool.connection() as connection:
            while (batch := await self._fold_batch(connection)) == _BATCH:
                folded += batch
            folded += batch
            self._folded_since_vacuum += folded
            if self._folded_since_vacuum >= _VACUUM_AFTER:
                self._folded_since_vacuum = 0
                # Without TRUNCATE it never stands in the way of a writer.
                await connection.execute("VACUUM (TRUNCATE false, SKIP_LOCKED) rollup_deltas")
        return folded

    async def _fold_batch(self, connection: psycopg.AsyncConnection[Any]) -> int:
        async with connection.transaction():
            if not await try_lock(connection, AdvisoryLock.ROLLUPS):
                return 0
            cursor = await connection.execute(_WAITING, (_BATCH,))
            row = await cursor.fetchone()
            waiting: int = row[0] if row is not None else 0
            if waiting:
                return waiting if await self._merge(connection) else 0
            return 0

    async def _merge(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Fold all together; where that fails, project by project, so that one's deltas keep no
        other's.

        Returns whether there is nothing left of what was seen.
        """
        try:
            async with connection.transaction():
                await connection.execute(_MERGE, {"most": _BATCH})
        except psycopg.Error as exc:
            if is_outage(exc):
                raise
            log.error("rollups.batch_refused", sqlstate=exc.sqlstate)  # noqa: TRY400
        else:
            return True
        for (project_id,) in await (await connection.execute(_PROJECTS)).fetchall():
            try:
                async with connection.transaction():
                    await connection.execute(
                        _MERGE_OF_PROJECT, {"most": _BATCH, "project_id": project_id}
                    )
            except psycopg.Error as exc:
                if is_outage(exc):
                    raise
                log.error(  # noqa: TRY400
                    "rollups.project_refused", project_id=str(project_id), sqlstate=exc.sqlstate
                )
        return False


async def rebuild_rollups(pool: RawPool) -> None:
    """Count all messages again, while they go on changing: after a repair, or rows made with
    triggers disabled.

    Forgets what was counted of messages that retention has removed since.
    """
    async with (
        pool.connection() as connection,
        # Before the snapshot is taken: a fold in between would move what the snapshot still sees as
        # a delta.
        hold(connection, AdvisoryLock.ROLLUPS),
        connection.transaction(),
    ):
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await connection.execute("SET LOCAL work_mem = '128MB'")
        await connection.execute("DELETE FROM rollup_deltas")
        await connection.execute("DELETE FROM message_rollups")
        await connection.execute(_COUNT_ALL)
    log.info("rollups.rebuilt")
