"""The numbers of the Overview page: from the rollups, and the latest failures themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models import Connector
from backend.models.base import utc_now
from backend.models.message_rollup import STATUS, TO_PROVIDER
from backend.models.partitions import first_id
from backend.services.access.access import Access, Action
from backend.services.reporting.analytics import DELIVERED, Tally
from backend.services.reporting.periods import QUARTER, Span, floor_quarter
from backend.services.reporting.rollups import MessageCount, RollupQuery, Scope, count_messages
from backend.status import FAILURES, Status

Window = Literal["24h", "7d", "30d"]

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
# (width of a bucket, number of buckets). The last bucket contains now.
_WINDOWS: Final[dict[str, tuple[timedelta, int]]] = {
    "24h": (_HOUR, 24),
    "7d": (_DAY, 7),
    "30d": (_DAY, 30),
}
# Statuses of messages that a provider has taken, as far as is known.
_HANDED_OVER: Final = (Status.SENT, Status.UNDELIVERED, *DELIVERED)
_LATEST_FAILURES: Final = 5
# The database's clock may be ahead: what it dates a little into the future belongs to now.
_AHEAD: Final = timedelta(hours=1)
# An id is made a little before its row, maybe by another machine's clock.
_CLOCK_SLACK: Final = timedelta(minutes=1)

# Failures may be rare among millions; the rollups know which quarter hours have some.
_FAILED_IN: Final = text("""
SELECT slot FROM (
    (SELECT slot FROM message_rollups
    WHERE project_id = :project_id AND measure = 'failure' AND grain = 15 AND slot >= :start
        AND mode = :mode
    GROUP BY slot ORDER BY slot DESC LIMIT :latest)
    UNION
    SELECT slot FROM rollup_deltas
    WHERE project_id = :project_id AND measure = 'failure' AND slot >= :start AND mode = :mode
        AND messages > 0
) slots
ORDER BY slot DESC LIMIT :latest
""")

_FAILED: Final = text("""
SELECT DISTINCT m.* FROM unnest(CAST(:first_ids AS uuid[]), CAST(:last_ids AS uuid[])) AS s
    (first_id, last_id)
CROSS JOIN LATERAL (
    SELECT id, recipient, connector_id, connector_type, status, error_code, error_reason,
        coalesce(failed_at, updated_at) AS at
    FROM messages
    WHERE project_id = :project_id AND id >= s.first_id AND id < s.last_id AND created_at >= :start
        AND mode = :mode
        AND status = ANY(:failures)
    ORDER BY id DESC LIMIT :latest
) m
ORDER BY m.id DESC LIMIT :latest
""")


@dataclass(frozen=True, slots=True)
class TimeBucket:
    """An hour or a day in the viewer's zone. `counts`: by status, without zeros."""

    start: datetime
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class ConnectorNumbers:
    """A connector's numbers within the window.

    `last_sent_at`: its last hand-over. `broken_reason` says what to fix.
    """

    id: UUID
    type: str
    name: str
    is_active: bool
    is_default: bool
    broken_at: datetime | None
    broken_reason: str | None
    circuit_opened_at: datetime | None = None
    circuit_reason: str | None = None
    accepted: int = 0
    handed_over: int = 0
    delivered: int = 0
    failed: int = 0
    last_sent_at: datetime | None = None

    @property
    def error_rate(self) -> float | None:
        """The share of settled messages that failed (0 to 1); None while nothing is settled."""
        settled = self.handed_over + self.failed
        return self.failed / settled if settled else None


@dataclass(frozen=True, slots=True)
class LatestFailure:
    message_id: UUID
    recipient: str
    connector_id: UUID
    connector_type: str
    status: str
    code: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """`handed_over`: a provider took them, delivered ones included.

    `p95_ms`: from due to taken by the provider, at most 4.5 % off.
    """

    window: Window
    start: datetime
    accepted: int
    handed_over: int
    delivered: int
    failed: int
    p95_ms: float | None
    by_status: dict[str, int]
    buckets: Sequence[TimeBucket]
    connectors: Sequence[ConnectorNumbers]
    failures: Sequence[LatestFailure] = field(default_factory=tuple)


async def overview(
    session: AsyncSession,
    access: Access,
    *,
    mode: Literal["live", "test"] = "live",
    window: Window = "24h",
    utc_offset_minutes: int = 0,
    now: datetime | None = None,
) -> Overview:
    """Return the numbers of the window that ends now. Raises KeyScope.

    `utc_offset_minutes`: the viewer's zone, minutes east of UTC, where hours and days begin.
    """
    access.require(Action.VIEW_MESSAGES)
    access.mode_seen(mode)
    width, count = _WINDOWS[window]
    start = _start(now or utc_now(), width, count, timedelta(minutes=utc_offset_minutes))
    spans = [Span(start + n * width, start + (n + 1) * width) for n in range(count)]
    spans[-1] = Span(spans[-1].start, spans[-1].end + _AHEAD)
    whole = Span(start, spans[-1].end)
    queries = [
        RollupQuery(whole, (STATUS, TO_PROVIDER), by_connector=True),
        *(RollupQuery(span) for span in spans),
    ]
    total, *counts = await count_messages(session, Scope(access.project_id, mode), queries)
    tally = Tally.of(total)
    scope: dict[str, Any] = {
        "project_id": access.project_id,
        "start": start,
        "mode": mode,
        "latest": _LATEST_FAILURES,
    }
    return Overview(
        window=window,
        start=start,
        accepted=tally.accepted,
        handed_over=_sum(tally.by_status, _HANDED_OVER),
        delivered=tally.delivered,
        failed=tally.failed,
        p95_ms=tally.to_provider.p95_ms,
        by_status=dict(tally.by_status),
        buckets=[
            TimeBucket(span.start, {count.value: count.messages for count in counted})
            for span, counted in zip(spans, counts, strict=True)
        ],
        connectors=_connectors(await Connector.list_for_project(session, access.project_id), total),
        failures=await _failures(session, scope) if tally.failed else (),
    )


def _start(now: datetime, width: timedelta, count: int, offset: timedelta) -> datetime:
    """Return the first bucket's start. The last bucket begins at the viewer's full hour or
    midnight.
    """
    epoch = datetime(1970, 1, 1, tzinfo=UTC) - offset
    current = epoch + (now - epoch) // width * width
    return floor_quarter(current - (count - 1) * width)


def _sum(counts: Counter[str], statuses: Sequence[Status]) -> int:
    return sum(counts[status] for status in statuses)


def _connectors(
    connectors: Sequence[Connector], counts: Sequence[MessageCount]
) -> list[ConnectorNumbers]:
    """Return every connector there is, the busiest first."""
    by_connector: dict[UUID | None, list[MessageCount]] = {}
    for count in counts:
        by_connector.setdefault(count.connector_id, []).append(count)
    numbers = [_connector(each, by_connector.get(each.id, [])) for each in connectors]
    return sorted(numbers, key=lambda each: (-each.accepted, each.name))


def _connector(connector: Connector, counts: Sequence[MessageCount]) -> ConnectorNumbers:
    tally = Tally.of(counts)
    return ConnectorNumbers(
        id=connector.id,
        type=connector.type,
        name=connector.name,
        is_active=connector.is_active,
        is_default=connector.is_default,
        broken_at=connector.broken_at,
        broken_reason=connector.broken_reason,
        circuit_opened_at=connector.circuit_opened_at,
        circuit_reason=connector.circuit_reason,
        accepted=tally.accepted,
        handed_over=_sum(tally.by_status, _HANDED_OVER),
        delivered=tally.delivered,
        failed=tally.failed,
        last_sent_at=max(
            (count.last_at for count in counts if count.last_at is not None), default=None
        ),
    )


async def _failures(session: AsyncSession, scope: dict[str, Any]) -> list[LatestFailure]:
    connection = await session.connection()
    slots = (await connection.execute(_FAILED_IN, scope)).scalars().all()
    ranges = {
        "first_ids": [first_id(slot - _CLOCK_SLACK) for slot in slots],
        "last_ids": [first_id(slot + QUARTER + _CLOCK_SLACK) for slot in slots],
        "failures": sorted(FAILURES),
    }
    rows = (await connection.execute(_FAILED, {**scope, **ranges})).all()
    return [
        LatestFailure(
            message_id=row.id,
            recipient=row.recipient,
            connector_id=row.connector_id,
            connector_type=row.connector_type,
            status=row.status,
            code=row.error_code or "",
            reason=row.error_reason or "",
            at=row.at,
        )
        for row in rows
    ]
