"""The Overview page's numbers: one pass over the window's messages, and two small looks beside it."""

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
from backend.models.partitions import first_id
from backend.status import FAILURES, Status

Window = Literal["24h", "7d", "30d"]

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
# (width of a bucket, number of buckets); the last one is the one we are in.
_WINDOWS: Final[dict[str, tuple[timedelta, int]]] = {"24h": (_HOUR, 24), "7d": (_DAY, 7), "30d": (_DAY, 30)}
_DELIVERED: Final = (Status.DELIVERED, Status.READ)
# What a provider has taken, as far as is known.
_HANDED_OVER: Final = (Status.SENT, Status.UNDELIVERED, *_DELIVERED)
_LATEST_FAILURES: Final = 5
# Enough for a steady 95th percentile, few enough to sort at once.
_TIMED_SENDS: Final = 5_000

_COUNTS: Final = text("""
SELECT floor(extract(epoch FROM created_at - :start) / :width_s)::int AS bucket,
       connector_id, status, count(*) AS messages, max(sent_at) AS last_sent_at
FROM messages
WHERE project_id = :project_id AND id >= :first_id AND created_at >= :start AND mode = :mode
GROUP BY 1, 2, 3
""")

_P95: Final = text("""
SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY took_s) FROM (
    SELECT extract(epoch FROM sent_at - greatest(created_at, send_at)) AS took_s
    FROM messages
    WHERE project_id = :project_id AND id >= :first_id AND created_at >= :start AND mode = :mode
        AND sent_at IS NOT NULL
    ORDER BY id DESC LIMIT :timed
) latest
""")

_FAILED: Final = text("""
SELECT id, recipient, connector_id, connector_type, status, error_code, error_reason,
       coalesce(failed_at, updated_at) AS at
FROM messages
WHERE project_id = :project_id AND id >= :first_id AND created_at >= :start AND mode = :mode
    AND status = ANY(:failures)
ORDER BY id DESC LIMIT :latest
""")


@dataclass(frozen=True, slots=True)
class Bucket:
    """An hour or a day in the viewer's zone; `counts` by status, statuses without messages left out."""

    start: datetime
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class ConnectorNumbers:
    """A connector's window. `last_sent_at`: the last hand-over within it; `broken_reason` says what to mend."""

    id: UUID
    type: str
    name: str
    is_active: bool
    is_default: bool
    broken_at: datetime | None
    broken_reason: str | None
    accepted: int = 0
    handed_over: int = 0
    delivered: int = 0
    failed: int = 0
    last_sent_at: datetime | None = None

    @property
    def error_rate(self) -> float | None:
        """Failed of settled (0 to 1); None while nothing is settled."""
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
    """`handed_over`: taken by a provider, delivered ones included. `p95_ms`: accept to provider."""

    window: Window
    start: datetime
    accepted: int
    handed_over: int
    delivered: int
    failed: int
    p95_ms: float | None
    by_status: dict[str, int]
    buckets: Sequence[Bucket]
    connectors: Sequence[ConnectorNumbers]
    failures: Sequence[LatestFailure] = field(default_factory=tuple)


async def overview(
    session: AsyncSession,
    *,
    project_id: UUID,
    mode: Literal["live", "test"] = "live",
    window: Window = "24h",
    utc_offset_minutes: int = 0,
    now: datetime | None = None,
) -> Overview:
    """Return the numbers of the window that ends now.

    `utc_offset_minutes`: the viewer's zone, minutes east of UTC; hours and days begin there.
    """
    width, count = _WINDOWS[window]
    start = _start(now or utc_now(), width, count, timedelta(minutes=utc_offset_minutes))
    connection = await session.connection()
    scope: dict[str, Any] = {
        "project_id": project_id,
        # Ids are made a little before their rows, maybe on another machine's clock.
        "first_id": first_id(start - timedelta(minutes=1)),
        "start": start,
        "mode": mode,
    }
    rows = (await connection.execute(_COUNTS, {**scope, "width_s": width.total_seconds()})).all()
    by_status: Counter[str] = Counter()
    for row in rows:
        by_status[row.status] += row.messages
    failed = _sum(by_status, FAILURES)
    has_sends = any(row.last_sent_at is not None for row in rows)
    p95_s = (await connection.execute(_P95, {**scope, "timed": _TIMED_SENDS})).scalar_one() if has_sends else None
    return Overview(
        window=window,
        start=start,
        accepted=by_status.total(),
        handed_over=_sum(by_status, _HANDED_OVER),
        delivered=_sum(by_status, _DELIVERED),
        failed=failed,
        p95_ms=max(0.0, float(p95_s) * 1000) if p95_s is not None else None,
        by_status=dict(by_status),
        buckets=_buckets(rows, start, width, count),
        connectors=_connectors(await Connector.list_for_project(session, project_id), rows),
        failures=await _failures(session, scope) if failed else (),
    )


def _start(now: datetime, width: timedelta, count: int, offset: timedelta) -> datetime:
    """Return the first bucket's start: the current one begins at the viewer's full hour or midnight."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC) - offset
    current = epoch + (now - epoch) // width * width
    return current - (count - 1) * width


def _sum(counts: Counter[str], statuses: Sequence[Status] | frozenset[Status]) -> int:
    return sum(counts[status] for status in statuses)


def _buckets(rows: Sequence[Any], start: datetime, width: timedelta, count: int) -> list[Bucket]:
    counts: list[Counter[str]] = [Counter() for _ in range(count)]
    for row in rows:
        # A clock ahead of ours writes into the future: that is now.
        counts[min(row.bucket, count - 1)][row.status] += row.messages
    return [Bucket(start + index * width, dict(counted)) for index, counted in enumerate(counts)]


def _connectors(connectors: Sequence[Connector], rows: Sequence[Any]) -> list[ConnectorNumbers]:
    """Return every connector there is, the busiest first."""
    counts: dict[UUID, Counter[str]] = {}
    last_sent: dict[UUID, datetime] = {}
    for row in rows:
        counts.setdefault(row.connector_id, Counter())[row.status] += row.messages
        if row.last_sent_at is not None:
            last_sent[row.connector_id] = max(row.last_sent_at, last_sent.get(row.connector_id, row.last_sent_at))
    numbers = [_connector(one, counts.get(one.id, Counter()), last_sent.get(one.id)) for one in connectors]
    return sorted(numbers, key=lambda one: (-one.accepted, one.name))


def _connector(connector: Connector, counts: Counter[str], last_sent_at: datetime | None) -> ConnectorNumbers:
    return ConnectorNumbers(
        id=connector.id,
        type=connector.type,
        name=connector.name,
        is_active=connector.is_active,
        is_default=connector.is_default,
        broken_at=connector.broken_at,
        broken_reason=connector.broken_reason,
        accepted=counts.total(),
        handed_over=_sum(counts, _HANDED_OVER),
        delivered=_sum(counts, _DELIVERED),
        failed=_sum(counts, FAILURES),
        last_sent_at=last_sent_at,
    )


async def _failures(session: AsyncSession, scope: dict[str, Any]) -> list[LatestFailure]:
    connection = await session.connection()
    limits = {"failures": sorted(FAILURES), "latest": _LATEST_FAILURES}
    rows = (await connection.execute(_FAILED, {**scope, **limits})).all()
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
