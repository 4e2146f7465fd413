"""Analytics: what became of a project's messages, by hour and day of a time zone, how fast, and why
some failed.

Every number comes from the rollups (rollups.py), and equals a count of the messages themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models import Connector, Project, ProjectMember
from backend.models.message_rollup import FAILURE, STATUS, TO_DELIVERY, TO_PROVIDER
from backend.services.access.access import Access, Action, Mode
from backend.services.reporting.periods import (
    MOST_DAYS,
    MOST_HOUR_DAYS,
    Period,
    Span,
    ceil_quarter,
    check_length,
    midnight,
)
from backend.services.reporting.rollups import (
    MEASURES,
    MessageCount,
    RollupQuery,
    Scope,
    count_messages,
    percentile_ms,
)
from backend.status import FAILURES, Status

Interval = Literal["hour", "day"]

DELIVERED: Final = frozenset({Status.DELIVERED, Status.READ})
# Reference 002's `sent` includes what failed: its example adds up to delivered + failed.
SENT: Final = DELIVERED | FAILURES | {Status.SENT, Status.UNCERTAIN}
_HOUR: Final = timedelta(hours=1)
_ALL_TIME: Final = datetime(2000, 1, 1, tzinfo=ZoneInfo("UTC"))


@dataclass(frozen=True, slots=True)
class StatisticsFilter:
    """`mode` None: all that may be seen. `connector` is an id or a type."""

    mode: Mode | None = None
    connector: UUID | str | None = None


EVERY_MESSAGE: Final = StatisticsFilter()


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds since a message was due; None without messages. At most 4.5 % off."""

    p50_ms: float | None
    p95_ms: float | None


_FIELDS: Final = {
    STATUS: "by_status",
    FAILURE: "failures",
    TO_PROVIDER: "to_provider_bins",
    TO_DELIVERY: "to_delivery_bins",
}
# Shared by all tallies that count nothing of a kind: a series has hundreds. Never written to.
_NOTHING: Final[Counter[str]] = Counter()


@dataclass(frozen=True, slots=True)
class Tally:
    """Messages of one connector, type, hour, day or period, by what became of them."""

    by_status: Counter[str] = field(default_factory=lambda: _NOTHING)
    failures: Counter[str] = field(default_factory=lambda: _NOTHING)
    to_provider_bins: Counter[str] = field(default_factory=lambda: _NOTHING)
    to_delivery_bins: Counter[str] = field(default_factory=lambda: _NOTHING)

    @classmethod
    def of(cls, counts: Iterable[MessageCount]) -> Tally:
        counters: dict[str, Counter[str]] = {}
        for count in counts:
            if (counter := counters.get(count.measure)) is None:
                counter = counters[count.measure] = Counter()
            # Not `+=`: a Counter looks up a missing value in Python, and most values come once.
            counter[count.value] = counter.get(count.value, 0) + count.messages
        return cls(**{_FIELDS[measure]: counter for measure, counter in counters.items()})

    @property
    def accepted(self) -> int:
        return self.by_status.total()

    @property
    def sent(self) -> int:
        """How many were tried to the end: a provider took them, they failed, or are uncertain."""
        return self._count(SENT)

    @property
    def delivered(self) -> int:
        return self._count(DELIVERED)

    @property
    def failed(self) -> int:
        return self._count(FAILURES)

    @property
    def delivered_rate(self) -> float:
        """The share of sent messages that was delivered (0 to 1); 0 when nothing was sent."""
        return self.delivered / self.sent if self.sent else 0.0

    @property
    def to_provider(self) -> Latency:
        return _latency(self.to_provider_bins)

    @property
    def to_delivery(self) -> Latency:
        return _latency(self.to_delivery_bins)

    def _count(self, statuses: Collection[str]) -> int:
        return sum([messages for status, messages in self.by_status.items() if status in statuses])


@dataclass(frozen=True, slots=True)
class MessageStatistics:
    """`by_hour` is empty unless the interval is an hour.

    Days and hours without messages are there, with zeros.
    """

    period: Period
    totals: Tally
    by_connector: dict[str, Tally]
    by_day: Sequence[tuple[date, Tally]]
    by_hour: Sequence[tuple[datetime, Tally]]


@dataclass(frozen=True, slots=True)
class Usage:
    period: Period
    totals: Tally
    total_projects: int
    total_connectors: int
    top_connectors: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class ConnectorStatistics:
    """`name` is None for a connector that no longer exists."""

    id: UUID
    type: str
    name: str | None
    is_active: bool
    tally: Tally


@dataclass(frozen=True, slots=True)
class SentCounts:
    """Messages sent since the day, the week (on Monday) and the month began, and in total."""

    today: int
    this_week: int
    this_month: int
    total: int


def _scope(access: Access, filters: StatisticsFilter) -> Scope:
    access.require(Action.VIEW_STATISTICS)
    return Scope(access.project_id, access.mode_seen(filters.mode), filters.connector)


async def message_statistics(
    session: AsyncSession,
    access: Access,
    *,
    filters: StatisticsFilter = EVERY_MESSAGE,
    period: Period,
    interval: Interval = "day",
) -> MessageStatistics:
    """Raises ValidationFailed for a period with too many points, and KeyScope."""
    scope = _scope(access, filters)
    if interval == "hour":
        check_length(
            period, most_days=MOST_HOUR_DAYS, remedy="ask for interval=day or a shorter period"
        )
        spans = period.hours()
    else:
        check_length(period, most_days=MOST_DAYS, remedy="ask for a shorter period")
        spans = [span for _, span in period.days()]
    queries = _series(spans, interval)
    whole = [
        RollupQuery(period.span, by_connector=True),
        RollupQuery(period.span, (FAILURE, TO_PROVIDER, TO_DELIVERY)),
    ]
    by_connector, reasons, *answers = await count_messages(session, scope, [*whole, *queries])
    points: dict[datetime, list[MessageCount]] = {span.start: [] for span in spans}
    for query, counts in zip(queries, answers, strict=True):
        for count in counts:
            points[count.hour or query.span.start].append(count)
    # No zone has an hour in two days, so the hours add up to the days.
    by_day: dict[date, list[MessageCount]] = {}
    for start, counts in points.items():
        by_day.setdefault(start.astimezone(period.zone).date(), []).extend(counts)
    hours = points.items() if interval == "hour" else ()
    return MessageStatistics(
        period=period,
        totals=Tally.of([*by_connector, *reasons]),
        by_connector=_by_type(by_connector),
        by_day=[(day, Tally.of(counts)) for day, counts in by_day.items()],
        by_hour=[(start.astimezone(period.zone), Tally.of(counts)) for start, counts in hours],
    )


def _series(spans: Sequence[Span], interval: Interval) -> list[RollupQuery]:
    """Return a query for each span. All hours but the first and the last share one, unless an odd
    change of clocks made one longer or shorter.
    """
    between = spans[1:-1]
    if interval == "day" or not between or any(span.end - span.start != _HOUR for span in between):
        return [RollupQuery(span) for span in spans]
    return [
        RollupQuery(spans[0]),
        RollupQuery(Span(between[0].start, between[-1].end), by_hour=True),
        RollupQuery(spans[-1]),
    ]


async def usage(
    session: AsyncSession,
    access: Access,
    *,
    filters: StatisticsFilter = EVERY_MESSAGE,
    period: Period,
) -> Usage:
    """Raises KeyScope. A user's projects are counted; a key has one."""
    scope = _scope(access, filters)
    user_id = access.actor.user_id
    (total,) = await count_messages(session, scope, [RollupQuery(period.span, by_connector=True)])
    connectors = (
        select(func.count())
        .select_from(Connector)
        .where(col(Connector.project_id) == scope.project_id, col(Connector.deleted_at).is_(None))
    )
    if isinstance(scope.connector, UUID):
        connectors = connectors.where(col(Connector.id) == scope.connector)
    elif scope.connector is not None:
        connectors = connectors.where(col(Connector.type) == scope.connector)
    return Usage(
        period=period,
        totals=Tally.of(total),
        total_projects=await _projects_of(session, user_id) if user_id is not None else 1,
        total_connectors=(await session.exec(connectors)).one(),
        top_connectors=[(type_, tally.accepted) for type_, tally in _by_type(total).items()],
    )


async def connector_statistics(
    session: AsyncSession,
    access: Access,
    *,
    filters: StatisticsFilter = EVERY_MESSAGE,
    period: Period,
) -> list[ConnectorStatistics]:
    """Return every connector there is, and every deleted one that had messages; the busiest first.

    Raises KeyScope.
    """
    scope = _scope(access, filters)
    (total,) = await count_messages(
        session, scope, [RollupQuery(period.span, MEASURES, by_connector=True)]
    )
    counted: dict[tuple[UUID, str], list[MessageCount]] = {}
    for count in total:
        if count.connector_id is not None and count.connector_type is not None:
            counted.setdefault((count.connector_id, count.connector_type), []).append(count)
    known = {
        connector.id: connector
        for connector in await Connector.list_for_project(session, scope.project_id)
    }
    for connector in known.values():
        if scope.connector in (None, connector.id, connector.type):
            counted.setdefault((connector.id, connector.type), [])
    statistics = [
        ConnectorStatistics(
            id=connector_id,
            type=connector_type,
            name=known[connector_id].name if connector_id in known else None,
            is_active=connector_id in known and known[connector_id].is_active,
            tally=Tally.of(counts),
        )
        for (connector_id, connector_type), counts in counted.items()
    ]
    return sorted(
        statistics,
        key=lambda connector: (-connector.tally.accepted, connector.type, connector.id),
    )


async def sent_counts(
    session: AsyncSession,
    access: Access,
    *,
    filters: StatisticsFilter = EVERY_MESSAGE,
    zone: ZoneInfo,
    now: datetime,
    within: Span | None = None,
) -> SentCounts:
    """`within` bounds only the total, not today, this week and this month. Raises KeyScope."""
    scope = _scope(access, filters)
    day = now.astimezone(zone).date()
    end = ceil_quarter(now) + timedelta(minutes=15)
    starts = (day, day - timedelta(days=day.weekday()), day.replace(day=1))
    spans = [
        *(Span(midnight(start, zone), end) for start in starts),
        within or Span(_ALL_TIME, end),
    ]
    today, week, month, total = await count_messages(
        session, scope, [RollupQuery(span) for span in spans]
    )
    return SentCounts(
        Tally.of(today).sent, Tally.of(week).sent, Tally.of(month).sent, Tally.of(total).sent
    )


def _latency(bins: Counter[str]) -> Latency:
    return Latency(p50_ms=percentile_ms(bins, 0.5), p95_ms=percentile_ms(bins, 0.95))


def _by_type(counts: Sequence[MessageCount]) -> dict[str, Tally]:
    """Return the tally of each connector type, the busiest first."""
    grouped: dict[str, list[MessageCount]] = {}
    for count in counts:
        grouped.setdefault(count.connector_type or "", []).append(count)
    tallies = {type_: Tally.of(of_type) for type_, of_type in grouped.items()}
    return dict(sorted(tallies.items(), key=lambda item: (-item[1].accepted, item[0])))


async def _projects_of(session: AsyncSession, user_id: UUID) -> int:
    query = (
        select(func.count())
        .select_from(ProjectMember)
        .join(Project, col(Project.id) == col(ProjectMember.project_id))
        .where(col(ProjectMember.user_id) == user_id, col(Project.deleted_at).is_(None))
    )
    return (await session.exec(query)).one()
