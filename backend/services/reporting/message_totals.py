"""How many messages a filter matches: from the counters if they know, else counted if that is
cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, literal, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models import Message
from backend.models.message_rollup import REMOVED, STATUS
from backend.services.messages.message_filters import MessageFilter, filter_conditions
from backend.services.reporting.message_ranges import (
    Ranges,
    find_ranges,
    is_driven_by_queue,
    newest,
    waiting,
)
from backend.services.reporting.periods import Span, ceil_quarter, floor_quarter
from backend.services.reporting.rollups import RollupQuery, Scope, count_messages
from backend.status import PENDING, Status

# Counting makes long lists slow; beyond this an estimate is good enough.
EXACT_TOTAL_LIMIT: Final = 10_000
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
_END: Final = datetime(3000, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Total:
    messages: int
    is_estimate: bool = False


async def count_matching(session: AsyncSession, project_id: UUID, filters: MessageFilter) -> Total:
    """Return the number of matching messages on all pages."""
    is_counted = filters.id is None and filters.recipient is None and filters.key_id is None
    if is_counted and filters.template_id is None and filters.campaign_id is None:
        if not filters.is_waiting:
            return await _from_rollups(session, project_id, filters)
        waiting = await _bounded(session, project_id, filters, None)
        if waiting is not None:
            return Total(waiting)
        # The counters know how many wait, not how many of those are being sent at this moment.
        stored = await _from_rollups(session, project_id, filters)
        return Total(max(stored.messages, EXACT_TOTAL_LIMIT + 1), is_estimate=True)
    ranges = await find_ranges(session, project_id, filters, most=EXACT_TOTAL_LIMIT + 1)
    count = await _bounded(session, project_id, filters, ranges)
    if count is not None:
        return Total(count)
    return Total(
        max(await _planned(session, project_id, filters), EXACT_TOTAL_LIMIT + 1), is_estimate=True
    )


async def _from_rollups(session: AsyncSession, project_id: UUID, filters: MessageFilter) -> Total:
    """Take whole quarter hours from the counters; count the rows of those that a date cuts."""
    start = min(max(filters.from_ or _BEGINNING, _BEGINNING), _END)
    end = min(
        max(
            (filters.to + _MS) if filters.to is not None and filters.to < _END else _END, _BEGINNING
        ),
        _END,
    )
    first, last = ceil_quarter(start), floor_quarter(end)
    if first >= last:
        return await _edges(session, project_id, [filters])
    scope = Scope(project_id, mode=filters.mode, connector=filters.connector)
    (counts,) = await count_messages(
        session, scope, [RollupQuery(Span(first, last), (STATUS, REMOVED))]
    )
    statuses = _stored_statuses(filters.status)
    # Analytics still count what retention has removed; a list doesn't have it any more.
    total = sum(
        -count.messages if count.measure == REMOVED else count.messages
        for count in counts
        if statuses is None or count.value in statuses
    )
    edges = []
    if start < first:
        edges.append(replace(filters, to=first - _MS))
    if last < end:
        edges.append(replace(filters, from_=last))
    rest = await _edges(session, project_id, edges)
    return Total(total + rest.messages, rest.is_estimate)


async def _edges(session: AsyncSession, project_id: UUID, edges: Sequence[MessageFilter]) -> Total:
    counts = [await _bounded(session, project_id, edge, None) for edge in edges]
    known = sum(EXACT_TOTAL_LIMIT if count is None else count for count in counts)
    return Total(known, is_estimate=None in counts)


def _stored_statuses(status: str | None) -> frozenset[str] | None:
    if status is None:
        return None
    if status == "pending":
        return frozenset(PENDING)
    return frozenset({Status.QUEUED}) if status == Status.SENDING else frozenset({status})


async def _bounded(
    session: AsyncSession, project_id: UUID, filters: MessageFilter, ranges: Ranges | None
) -> int | None:
    """Return the exact number; None if it is beyond the limit."""
    most = EXACT_TOTAL_LIMIT + 1
    conditions = filter_conditions(project_id, filters)
    if is_driven_by_queue(filters):
        rows = waiting(project_id, filters).with_only_columns(literal(1)).order_by(None)
    elif ranges is None:
        rows = select(literal(1)).select_from(Message).where(*conditions)
    else:
        rows = newest(conditions, ranges, most=most).with_only_columns(literal(1)).order_by(None)
    connection = await session.connection()
    count: int = (
        await connection.execute(select(func.count()).select_from(rows.limit(most).subquery()))
    ).scalar_one()
    return count if count < most else None


async def _planned(session: AsyncSession, project_id: UUID, filters: MessageFilter) -> int:
    """Return the planner's estimate."""
    rough = filter_conditions(project_id, filters, is_exact=False)
    connection = await session.connection()
    query = select(literal(1)).select_from(Message).where(*rough)
    compiled = query.compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    plan = (
        await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {compiled}", compiled.params)
    ).scalar_one()
    return int(plan[0]["Plan"]["Plan Rows"])
