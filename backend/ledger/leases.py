"""Leases that have ended, and turns that no bell rang for: the sweeper finds and settles both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg.rows import class_row

from backend.ids import new_id
from backend.ledger.ending import drop_from_queue
from backend.ledger.events import insert_events
from backend.ledger.results import Again, Done, Watch
from backend.models.recordset import SMALLINT, recordset
from backend.models.send_queue import CLAIMED, DUE, IN_FLIGHT, WATCHED
from backend.outages import is_about_the_item, is_outage
from backend.queueing import Turn

log = structlog.get_logger()

# Leases freed, and messages settled, in one step.
BATCH: Final = 1000
# Connectors looked at in one step.
MOST_TURNS: Final = 2000
_LOST_REASON: Final = (
    "The worker died while the provider was answering; it may have taken the message."
)


@dataclass(frozen=True, slots=True)
class _Turn:
    lane: int
    connector_id: UUID


@dataclass(frozen=True, slots=True)
class DueTurn:
    lane: int
    connector_id: UUID
    is_due: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """A message whose worker has gone while its provider was answering."""

    message_id: UUID
    project_id: UUID
    connector_id: UUID
    number: int
    connector_type: str
    on_uncertain: str
    route: Any
    step: int


@dataclass(frozen=True, slots=True)
class _LostRow:
    """What becomes of it; `again_in_s` None: the queue has no more to do."""

    message_id: UUID
    project_id: UUID
    connector_id: UUID
    number: int
    again_in_s: float | None
    again_state: Annotated[int, SMALLINT]
    attempt_id: UUID
    event_id: UUID


# Shown to no provider yet: safe to send again.
_FREE_CLAIMED: Final = f"""
UPDATE send_queue SET state = {DUE}, claim = NULL, lease_until = NULL, due_at = now(),
    tries = greatest(0, tries - 1)
WHERE message_id IN (
    SELECT message_id FROM send_queue WHERE state = {CLAIMED} AND lease_until < now() LIMIT {BATCH}
    FOR UPDATE SKIP LOCKED
)
RETURNING lane, connector_id
"""
# The worker is gone, and what the provider did with the message is unknown: uncertain.
_LOST_IN_FLIGHT: Final = f"""
SELECT q.message_id, q.project_id, q.connector_id, m.attempts::bigint + 1 AS number,
    m.connector_type, m.on_uncertain, m.route, m.step
FROM (
    SELECT * FROM send_queue WHERE state = {IN_FLIGHT} AND lease_until < now() LIMIT {BATCH}
    FOR UPDATE SKIP LOCKED
) q
CROSS JOIN LATERAL (SELECT * FROM messages WHERE messages.id = q.message_id) m
"""
_SETTLE_LOST: Final = f"""
WITH lost AS MATERIALIZED (
    SELECT * FROM {recordset(_LostRow, "r")}
), dequeued AS (
    DELETE FROM send_queue q USING lost l WHERE q.message_id = l.message_id AND l.again_in_s IS NULL
), waiting AS (
    UPDATE send_queue q SET state = l.again_state, claim = NULL, lease_until = NULL,
        due_at = now() + make_interval(secs => l.again_in_s)
    FROM lost l WHERE q.message_id = l.message_id AND l.again_in_s IS NOT NULL
), attempted AS (
    INSERT INTO attempts (id, message_id, project_id, connector_id, number, outcome, provider_code,
        reason, started_at, duration_ms)
    SELECT attempt_id, message_id, project_id, connector_id, number, 'uncertain', '', %(reason)s,
        now(), 0 FROM lost
), moved AS (
    UPDATE messages m SET attempts = l.number, error_reason = %(reason)s, updated_at = now(),
        status = CASE WHEN m.status IN ('scheduled', 'queued') THEN 'uncertain' ELSE m.status END
    FROM lost l WHERE m.id = l.message_id
)
{
    insert_events('''
    SELECT event_id, project_id, message_id, 'message.uncertain',
        jsonb_build_object('reason', %(reason)s::text), now()
    FROM lost''')
}
"""
# Jumps from one (lane, connector) to the next through the index, whose first row of each is what is
# due first.
_TURNS: Final = f"""
WITH RECURSIVE turns AS (
    (SELECT lane, connector_id, due_at FROM send_queue
    WHERE state = {DUE} AND (lane, connector_id) > (%(lane)s, %(connector_id)s)
    ORDER BY lane, connector_id, due_at LIMIT 1)
    UNION ALL
    SELECT n.lane, n.connector_id, n.due_at FROM turns t CROSS JOIN LATERAL (
        SELECT lane, connector_id, due_at FROM send_queue
        WHERE state = {DUE} AND (lane, connector_id) > (t.lane, t.connector_id)
        ORDER BY lane, connector_id, due_at LIMIT 1
    ) n
)
SELECT lane, connector_id, due_at <= now() AS is_due FROM turns LIMIT {MOST_TURNS}
"""


async def free_claimed(connection: psycopg.AsyncConnection[Any]) -> set[Turn]:
    """Have up to BATCH messages wait again whose lease ended before they were shown to a provider;
    return whose turn it is.
    """
    cursor = connection.cursor(row_factory=class_row(_Turn))
    await cursor.execute(_FREE_CLAIMED)
    return {(turn.lane, turn.connector_id) for turn in await cursor.fetchall()}


async def find_lost(connection: psycopg.AsyncConnection[Any]) -> list[Lost]:
    """Return up to BATCH messages whose lease ended while they were in flight, locked."""
    cursor = connection.cursor(row_factory=class_row(Lost))
    await cursor.execute(_LOST_IN_FLIGHT)
    return await cursor.fetchall()


async def settle_lost(
    connection: psycopg.AsyncConnection[Any], lost: Sequence[tuple[Lost, Done | Again | Watch]]
) -> None:
    """Write that these, which the transaction has locked, are uncertain, and what comes next.

    All at once; where the database refuses that, one by one: a message that it refuses only leaves
    the queue.
    """
    rows = [_lost_row(message, after) for message, after in lost]
    try:
        await _settle(connection, rows)
    except psycopg.Error as exc:
        if is_outage(exc):
            raise
        for row in rows:
            await _settle_alone(connection, row)


async def _settle(connection: psycopg.AsyncConnection[Any], rows: Sequence[_LostRow]) -> None:
    async with connection.transaction():
        values = {"rows": orjson.dumps(rows).decode(), "reason": _LOST_REASON}
        await connection.execute(_SETTLE_LOST, values)


async def _settle_alone(connection: psycopg.AsyncConnection[Any], row: _LostRow) -> None:
    try:
        await _settle(connection, [row])
    except psycopg.Error as exc:
        if is_outage(exc):
            raise
        # Not the error's text: Postgres quotes the row in it.
        log.error(  # noqa: TRY400
            "sweep.message_refused", message_id=str(row.message_id), sqlstate=exc.sqlstate
        )
        if is_about_the_item(exc):
            await drop_from_queue(connection, row.message_id)


def _lost_row(message: Lost, after: Done | Again | Watch) -> _LostRow:
    return _LostRow(
        message.message_id,
        message.project_id,
        message.connector_id,
        message.number,
        again_in_s=None if isinstance(after, Done) else after.in_s,
        again_state=WATCHED if isinstance(after, Watch) else DUE,
        attempt_id=new_id(),
        event_id=new_id(),
    )


async def find_turns(connection: psycopg.AsyncConnection[Any], after: Turn) -> list[DueTurn]:
    """Return up to MOST_TURNS (lane, connector) that have something waiting, in order."""
    cursor = connection.cursor(row_factory=class_row(DueTurn))
    await cursor.execute(_TURNS, {"lane": after[0], "connector_id": after[1]})
    return await cursor.fetchall()
