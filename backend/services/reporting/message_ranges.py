"""Where to look for the messages of a filtered list: the quarter hours that have some, by their
counters.

A list walks the index (project_id, id) from the newest down. Where few messages match, most of what
it would see does not; the rollups know which quarter hours do have some, down to the last committed
change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, literal, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models import ROLLUP_DELTAS, Message, MessageRollup, SendQueueRow
from backend.models.message_rollup import REMOVED, STATUS
from backend.services.messages.message_filters import (
    CLOCK_SLACK,
    MessageFilter,
    filter_conditions,
    id_at,
)
from backend.services.reporting.periods import QUARTER

# More places than this are walked as quickly as everything.
MOST_SLOTS: Final = 1000
_GRAIN: Final = QUARTER // timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ids from `low` until before `high`, newest first, apart from each other.

    `is_cut`: older ones may match too, but as many as most were counted in these.
    """

    bounds: Sequence[tuple[UUID, UUID]]
    is_cut: bool


async def find_ranges(
    session: AsyncSession,
    project_id: UUID,
    filters: MessageFilter,
    *,
    most: int,
    before: UUID | None = None,
    most_slots: int = MOST_SLOTS,
) -> Ranges | None:
    """Return where the newest `most` matching messages stand; None when that cannot be narrowed
    down.

    `before`: of those with a smaller id.
    """
    if not _is_counted(filters):
        return None
    # Other conditions too: the counters tell only where there is nothing.
    is_complete = filters.key_id is None and filters.template_id is None
    cursor_at = _instant(before) if before is not None else None
    slots = await _slots(session, project_id, filters, cursor_at, most_slots)
    chosen: list[datetime] = []
    counted = 0
    for slot, messages in slots:
        if is_complete and counted >= most:
            return Ranges(_bounds(chosen), is_cut=True)
        chosen.append(slot)
        # A quarter hour that the cursor or a date cuts through may have none of its messages left.
        if not _is_cut_through(slot, filters, cursor_at):
            counted += max(0, messages)
    if len(slots) == most_slots:
        return Ranges(_bounds(chosen), is_cut=True) if is_complete and counted >= most else None
    return Ranges(_bounds(chosen), is_cut=False)


def newest(
    conditions: Sequence[ColumnElement[bool]], ranges: Ranges | None, *, most: int
) -> Select[Any]:
    """Return the query for messages in the ranges, newest first; `most` are needed from any one of
    them.
    """
    if ranges is None or not ranges.bounds:
        nowhere = [] if ranges is None else [~true()]
        return select(Message).where(*conditions, *nowhere).order_by(col(Message.id).desc())
    if len(ranges.bounds) == 1:
        ((low, high),) = ranges.bounds
        within = (col(Message.id) >= low, col(Message.id) < high)
        return select(Message).where(*conditions, *within).order_by(col(Message.id).desc())
    places = (
        func.unnest(
            literal([low for low, _ in ranges.bounds], ARRAY(Uuid)),
            literal([high for _, high in ranges.bounds], ARRAY(Uuid)),
        )
        .table_valued("low", "high")
        .render_derived()
    )
    there = (
        select(Message)
        .where(*conditions, col(Message.id) >= places.c.low, col(Message.id) < places.c.high)
        .order_by(col(Message.id).desc())
        .limit(most)
        .lateral("there")
    )
    return select(there).select_from(places.join(there, true())).order_by(there.c.id.desc())


def is_driven_by_queue(filters: MessageFilter) -> bool:
    """An id or a recipient has fewer messages than the queue may have."""
    return filters.is_waiting and filters.id is None and filters.recipient is None


def waiting(project_id: UUID, filters: MessageFilter, *, before: UUID | None = None) -> Select[Any]:
    """Return the query for messages that wait, newest first: from the queue, whatever the planner
    thinks of its size.

    `before`: of those with a smaller id.
    """
    message_id = col(SendQueueRow.message_id)
    rows = select(message_id, col(SendQueueRow.state)).where(
        col(SendQueueRow.project_id) == project_id
    )
    if before is not None:
        rows = rows.where(message_id < before)
    queue = rows.order_by(message_id.desc()).subquery("queue")
    conditions = filter_conditions(project_id, filters, queue_state=queue.c.state)
    there = (
        select(Message)
        .where(col(Message.id) == queue.c.message_id, *conditions)
        .limit(1)
        .lateral("there")
    )
    return select(there).select_from(queue.join(there, true())).order_by(queue.c.message_id.desc())


def _is_counted(filters: MessageFilter) -> bool:
    """What waits is found through the queue, a recipient, a campaign or an id through its index;
    they are few.
    """
    if filters.id is not None or filters.recipient is not None or filters.campaign_id is not None:
        return False
    if filters.is_waiting:
        return False
    return filters.status is not None or filters.connector is not None or filters.mode is not None


async def _slots(
    session: AsyncSession,
    project_id: UUID,
    filters: MessageFilter,
    cursor_at: datetime | None,
    most: int,
) -> list[tuple[datetime, int]]:
    """Return (quarter hour, messages), newest first; what is not folded yet counts as none, but is
    there.
    """
    connection = await session.connection()
    rollup = MessageRollup
    counted = (
        select(col(rollup.slot), func.sum(col(rollup.messages)))
        .where(
            col(rollup.project_id) == project_id,
            col(rollup.measure) == STATUS,
            col(rollup.grain) == _GRAIN,
            *_matching(MessageRollup.__table__.c, filters, cursor_at),  # type: ignore[attr-defined]
        )
        .group_by(col(rollup.slot))
        .order_by(col(rollup.slot).desc())
        .limit(most)
    )
    deltas = ROLLUP_DELTAS.c
    waiting = (
        select(deltas.slot)
        .where(
            deltas.project_id == project_id,
            deltas.measure == STATUS,
            *_matching(deltas, filters, cursor_at),
        )
        .distinct()
    )
    slots: dict[datetime, int] = {slot: 0 for (slot,) in (await connection.execute(waiting)).all()}
    rows = (await connection.execute(counted)).all()
    oldest = rows[-1][0] if len(rows) == most else None
    removed = await _removed(session, project_id, filters, since=rows[-1][0]) if rows else {}
    slots.update({slot: max(0, int(messages) - removed.get(slot, 0)) for slot, messages in rows})
    return sorted(
        ((slot, n) for slot, n in slots.items() if oldest is None or slot >= oldest), reverse=True
    )[:most]


async def _removed(
    session: AsyncSession, project_id: UUID, filters: MessageFilter, *, since: datetime
) -> dict[datetime, int]:
    """Return how many matching messages retention has removed from quarter hours since then."""
    rollup = MessageRollup
    query = (
        select(col(rollup.slot), func.sum(col(rollup.messages)))
        .where(
            col(rollup.project_id) == project_id,
            col(rollup.measure) == REMOVED,
            col(rollup.grain) == _GRAIN,
            col(rollup.slot) >= since,
            *_matching(MessageRollup.__table__.c, filters, None),  # type: ignore[attr-defined]
        )
        .group_by(col(rollup.slot))
    )
    connection = await session.connection()
    return {slot: int(messages) for slot, messages in (await connection.execute(query)).all()}


def _matching(
    columns: Any, filters: MessageFilter, cursor_at: datetime | None
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.status is not None:
        conditions.append(columns.value == filters.status)
    if isinstance(filters.connector, UUID):
        conditions.append(columns.connector_id == filters.connector)
    elif filters.connector is not None:
        conditions.append(columns.connector_type == filters.connector)
    if filters.mode is not None:
        conditions.append(columns.mode == filters.mode)
    if filters.from_ is not None:
        conditions.append(columns.slot > _shifted(filters.from_, -QUARTER - CLOCK_SLACK))
    ends = [instant for instant in (filters.to, cursor_at) if instant is not None]
    if ends:
        conditions.append(columns.slot <= _shifted(min(ends), CLOCK_SLACK))
    return conditions


def _is_cut_through(slot: datetime, filters: MessageFilter, cursor_at: datetime | None) -> bool:
    ends = [instant for instant in (filters.to, cursor_at) if instant is not None]
    if any(slot + QUARTER + CLOCK_SLACK >= end for end in ends):
        return True
    return filters.from_ is not None and slot - CLOCK_SLACK <= filters.from_


def _bounds(slots: Iterable[datetime]) -> list[tuple[UUID, UUID]]:
    """Return the ids that messages of these quarter hours may have, neighbours joined."""
    joined: list[tuple[datetime, datetime]] = []
    for slot in slots:
        low, high = slot - CLOCK_SLACK, slot + QUARTER + CLOCK_SLACK
        if joined and high >= joined[-1][0]:
            joined[-1] = (low, joined[-1][1])
        else:
            joined.append((low, high))
    return [(id_at(low, timedelta()), id_at(high, timedelta())) for low, high in joined]


def _instant(message_id: UUID) -> datetime:
    """Return the time in a UUIDv7; what is none, and out of range, is the end of time."""
    try:
        return datetime.fromtimestamp((message_id.int >> 80) / 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC)


def _shifted(instant: datetime, by: timedelta) -> datetime:
    try:
        return instant + by
    except OverflowError:
        return instant
