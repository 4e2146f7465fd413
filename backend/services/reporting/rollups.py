"""Counts of messages, exact at any moment: the counters, and the deltas not folded into them yet.

Every change of a message writes its delta in its own transaction (triggers, migration 0005). A fold
moves deltas into counters in one transaction (rollup_folding.py), and a reader sees both in one
snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

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
from backend.services.reporting.periods import Span

MEASURES: Final = (STATUS, FAILURE, TO_PROVIDER, TO_DELIVERY)
_HOUR: Final = timedelta(hours=1)
# The grain of hours, by how many minutes past the full hour (UTC) they begin.
_HOURS_FROM: Final = {0: 60, 15: QUARTER_PAST, 30: HALF_PAST}
# Bins of times grow by 2^(1/8) (migration 0005), so that a percentile is at most 4.5 % off.
_BINS_PER_OCTAVE: Final = 8

_SCOPED: Final = """
    AND (CAST(:mode AS text) IS NULL OR {row}.mode = :mode)
    AND (CAST(:connector_id AS uuid) IS NULL OR {row}.connector_id = :connector_id)
    AND (CAST(:connector_type AS text) IS NULL OR {row}.connector_type = :connector_type)
"""
# One statement, so that counters and deltas come from one snapshot. LATERAL with its own GROUP BY
# walks the primary key once for each piece, whatever the planner thinks of arrays.
_READ: Final = text(f"""
SELECT p.query, c.slot, NULL::timestamptz AS waiting_in, p.measure, c.connector_id,
    c.connector_type, c.value,
    sum(c.messages)::bigint AS messages, max(c.last_at) AS last_at
FROM unnest(CAST(:queries AS int[]), CAST(:measures AS text[]), CAST(:by_connector AS bool[]),
    CAST(:by_hour AS bool[]),
    CAST(:grains AS int[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
    AS p (query, measure, by_connector, by_hour, grain, starts_at, ends_at)
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


# A MessageCount without its numbers: hour, measure, connector id, connector type, value.
_Group = tuple[datetime | None, str, UUID | None, str | None, str]
# A group's messages that are not folded yet, and the last instant among them.
_Delta = tuple[_Group, int, datetime | None]


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
class RollupQuery:
    """What to count within a span.

    Without `by_connector` all connectors are counted as one, which is faster. `by_hour`: counts for
    each 60 minutes from the span's start.
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
        """Times are kept by the hour: their span is the full hours (UTC) that this one touches."""
        return self.span.full_hours() if measure in {TO_PROVIDER, TO_DELIVERY} else self.span


@dataclass(frozen=True, slots=True)
class MessageCount:
    """How many messages have `value` as their `measure`.

    None: the query makes no difference between values.
    """

    hour: datetime | None
    measure: str
    connector_id: UUID | None
    connector_type: str | None
    value: str
    messages: int
    last_at: datetime | None


async def count_messages(
    session: AsyncSession, scope: Scope, queries: Sequence[RollupQuery]
) -> list[list[MessageCount]]:
    """Return the counts of each query, in order, all from one snapshot."""
    connection = await session.connection()
    rows = (await connection.execute(_READ, {**scope.parameters(), **_pieces(queries)})).all()
    counted: list[list[MessageCount]] = [[] for _ in queries]
    waiting: dict[tuple[str, datetime], list[_Delta]] = {}
    for row in rows:
        group = (row.slot, row.measure, row.connector_id, row.connector_type, row.value)
        if row.waiting_in is None:
            counted[row.query].append(MessageCount(*group, row.messages, row.last_at))
        else:
            deltas = waiting.setdefault((row.measure, row.waiting_in), [])
            deltas.append((group, row.messages, row.last_at))
    return [
        _with_waiting(query, counts, waiting)
        for query, counts in zip(queries, counted, strict=True)
    ]


def _pieces(queries: Sequence[RollupQuery]) -> dict[str, list[Any]]:
    names = ("queries", "measures", "by_connector", "by_hour", "grains", "starts", "ends")
    rows = [
        (number, measure, query.by_connector, query.by_hour, *piece)
        for number, query in enumerate(queries)
        for measure in query.measures
        for piece in query.pieces(measure)
    ]
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def _with_waiting(
    query: RollupQuery,
    counts: list[MessageCount],
    waiting: Mapping[tuple[str, datetime], list[_Delta]],
) -> list[MessageCount]:
    """Add what is not folded yet: nearly always one quarter hour, or none."""
    of_ask = {
        (measure, slot): deltas
        for (measure, slot), deltas in waiting.items()
        if measure in query.measures and slot in query.span_of(measure)
    }
    if not of_ask:
        return [count for count in counts if count.messages]
    answer: dict[_Group, tuple[int, datetime | None]] = {
        (count.hour, count.measure, count.connector_id, count.connector_type, count.value): (
            count.messages,
            count.last_at,
        )
        for count in counts
    }
    for (_, slot), deltas in of_ask.items():
        _add(answer, query, slot, deltas)
    return [
        MessageCount(*group, messages, last_at)
        for group, (messages, last_at) in answer.items()
        if messages
    ]


def _add(
    answer: dict[_Group, tuple[int, datetime | None]],
    query: RollupQuery,
    slot: datetime,
    deltas: Sequence[_Delta],
) -> None:
    hour = query.hour_of(slot)
    for (_, measure, connector_id, connector_type, value), messages, last_at in deltas:
        group: _Group = (hour, measure, None, None, value)
        if query.by_connector:
            group = (hour, measure, connector_id, connector_type, value)
        before, earlier = answer.get(group, (0, None))
        answer[group] = (before + messages, _later(earlier, last_at))


def _later(first: datetime | None, second: datetime | None) -> datetime | None:
    if first is None or second is None:
        return first or second
    return max(first, second)


def percentile_ms(bins: Mapping[str, int], share: float) -> float | None:
    """Return the time within which `share` (0 to 1) of the messages stayed; None without any.

    It is the middle of its bin, so at most 4.5 % off. Times below a millisecond count as one.
    """
    total = sum(bins.values())
    if total <= 0:
        return None
    seen = 0
    rank = share * (total - 1)
    for number, messages in sorted((int(value), messages) for value, messages in bins.items()):
        seen += messages
        if seen > rank:
            return float(2.0 ** ((number + 0.5) / _BINS_PER_OCTAVE))
    raise AssertionError("a share above 1 was asked for")
