"""Fallback: take messages from one way of their route to the next one that is open.

A way is open when it comes later, answers the fault (`on`), its recipient is not suppressed and its
connector is not deleted; one whose connector can be used now goes before one that cannot. The
message keeps its status, which never goes back: what was sent stays `sent` while its next way
waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg.rows import class_row

from backend.ids import new_id
from backend.ledger.events import insert_events
from backend.ledger.locking import id_range
from backend.models.connector import UNUSABLE
from backend.models.recordset import recordset
from backend.models.send_queue import CLAIMED, DUE, IN_FLIGHT, LANES, WATCHED
from backend.outages import is_about_the_item
from backend.queueing import Turn
from backend.status import Status

log = structlog.get_logger()

# A connector `c` that can be sent through now.
_USABLE: Final = f"c.deleted_at IS NULL AND NOT ({UNUSABLE})"
# An open circuit that is due for its probe keeps its messages: one of them is the probe.
_IS_PROBED: Final = (
    "c.circuit_probe_at <= now() AND c.is_active AND c.broken_at IS NULL AND c.deleted_at IS NULL"
)
_LANE: Final = (
    "CASE m.priority "
    + " ".join(f"WHEN '{name}' THEN {lane}" for name, lane in LANES.items())
    + " END"
)
_OVER: Final = ", ".join(
    f"'{status}'" for status in (Status.DELIVERED, Status.READ, Status.CANCELED)
)

# CTEs that follow `leaving` (message_id, project_id, fault 'failure' | 'unavailable', only_usable,
# suppress, code, reason, event_id, attempt_id, number), whose queue rows are locked or gone.
# `next_way` names what goes on. The statement has the parameters %(lowest)s and %(highest)s, the
# range of the messages' ids.
FALLBACK: Final = f"""
next_way AS MATERIALIZED (
    SELECT l.message_id, l.project_id, l.code, l.reason, l.event_id, l.attempt_id, l.number,
        m.connector_id AS left_id, m.connector_type AS left_type, {_LANE} AS lane, m.expires_at,
        w.step, w.connector_id, w.connector_type, w.recipient, w.content,
        w.step < jsonb_array_length(m.route -> 'steps') - 1 AS has_next
    FROM leaving l
    CROSS JOIN LATERAL (SELECT * FROM messages WHERE messages.id = l.message_id) m
    CROSS JOIN LATERAL (
        SELECT (s.place - 1)::smallint AS step, s.connector_id, s.connector_type, s.recipient,
            s.content
        FROM (
            SELECT place, (way ->> 'connectorId')::uuid AS connector_id,
                way ->> 'connectorType' AS connector_type,
                way ->> 'recipient' AS recipient, way -> 'content' AS content,
                bool_or(way ->> 'on' = 'failure') OVER (ORDER BY place) AS answers_failure
            FROM jsonb_array_elements(m.route -> 'steps') WITH ORDINALITY AS a (way, place)
            WHERE place - 1 > m.step
        ) s
        JOIN connectors c ON c.id = s.connector_id AND c.project_id = l.project_id
            AND c.deleted_at IS NULL
        WHERE (s.answers_failure OR l.fault = 'unavailable') AND (({_USABLE}) OR NOT l.only_usable)
            AND NOT (l.suppress AND s.connector_type = m.connector_type
                AND s.recipient = m.recipient)
            AND NOT EXISTS (SELECT FROM suppressions p
                WHERE p.project_id = l.project_id AND p.channel = s.connector_type
                    AND p.recipient = s.recipient)
        ORDER BY NOT ({_USABLE}), s.place LIMIT 1
    ) w
    WHERE m.route IS NOT NULL AND m.status NOT IN ({_OVER})
), requeued AS (
    INSERT INTO send_queue (message_id, project_id, connector_id, lane, state, tries, due_at,
        has_next, expires_at)
    SELECT message_id, project_id, connector_id, lane, {DUE}, 0, now(), has_next, expires_at
    FROM next_way
    ON CONFLICT (message_id) DO UPDATE
        SET connector_id = excluded.connector_id, has_next = excluded.has_next,
            state = {DUE}, tries = 0, due_at = now(), claim = NULL, lease_until = NULL
), rerouted AS (
    UPDATE messages m
    SET step = n.step, connector_id = n.connector_id, connector_type = n.connector_type,
        recipient = n.recipient, content = n.content, provider_message_id = NULL,
        attempts = coalesce(n.number, m.attempts),
        status = CASE m.status WHEN '{Status.SCHEDULED}' THEN '{Status.QUEUED}' ELSE m.status END,
        error_code = nullif(n.code, ''), error_reason = nullif(n.reason, ''), updated_at = now()
    FROM next_way n
    WHERE m.id = n.message_id AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
), fallback_events AS ({
    insert_events('''
    SELECT event_id, project_id, message_id, 'message.fallback',
        jsonb_strip_nulls(jsonb_build_object('from', left_type, 'to', connector_type,
            'fromConnectorId', left_id, 'toConnectorId', connector_id, 'step', step,
            'attemptId', attempt_id, 'code', nullif(code, ''), 'reason', nullif(reason, ''))),
        now()
    FROM next_way''')
}
)"""


@dataclass(frozen=True, slots=True)
class FailedWay:
    """A receipt that the way through `connector_id` has failed."""

    message_id: UUID
    project_id: UUID
    connector_id: UUID
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Failed:
    message_id: UUID
    project_id: UUID
    connector_id: UUID
    code: str
    reason: str
    event_id: UUID


@dataclass(frozen=True, slots=True)
class _AfterFailure:
    """`connector_id` None: no way is left."""

    message_id: UUID
    lane: int | None
    connector_id: UUID | None
    is_busy: bool


@dataclass(frozen=True, slots=True)
class _Waiting:
    message_id: UUID
    project_id: UUID


@dataclass(frozen=True, slots=True)
class _Unusable:
    message_id: UUID
    project_id: UUID
    reason: str
    event_id: UUID


@dataclass(frozen=True, slots=True)
class _Turn:
    lane: int
    connector_id: UUID


@dataclass(frozen=True, slots=True)
class _UnusableConnector:
    connector_id: UUID
    reason: str


# Of two receipts for one way, the second waits for the message's lock and finds the way left
# already.
_LEAVE_FAILED: Final = f"""
WITH reported AS MATERIALIZED (
    SELECT * FROM {recordset(_Failed, "r")}
), queued AS MATERIALIZED (
    SELECT q.message_id, q.state FROM send_queue q JOIN reported r ON r.message_id = q.message_id
    FOR UPDATE OF q
), leaving AS MATERIALIZED (
    SELECT r.message_id, r.project_id, r.code, r.reason, r.event_id, 'failure' AS fault,
        false AS only_usable, false AS suppress, NULL::uuid AS attempt_id, NULL::int AS number
    FROM reported r LEFT JOIN queued q ON q.message_id = r.message_id
    JOIN messages m ON m.id = r.message_id AND m.connector_id = r.connector_id
        AND m.route IS NOT NULL
        AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
    WHERE coalesce(q.state, {WATCHED}) = {WATCHED}
    FOR UPDATE OF m
), {FALLBACK}
SELECT r.message_id, n.lane, n.connector_id,
    coalesce(q.state IN ({CLAIMED}, {IN_FLIGHT}), false) AS is_busy
FROM reported r
LEFT JOIN next_way n ON n.message_id = r.message_id
LEFT JOIN queued q ON q.message_id = r.message_id
"""

# Jumps through the index from one connector with waiting, routed messages to the next.
_UNUSABLE_CONNECTORS: Final = f"""
WITH RECURSIVE routed AS (
    (SELECT connector_id FROM send_queue WHERE state = {DUE} AND has_next
        ORDER BY connector_id LIMIT 1)
    UNION ALL
    SELECT n.connector_id FROM routed r CROSS JOIN LATERAL (
        SELECT connector_id FROM send_queue
        WHERE state = {DUE} AND has_next AND connector_id > r.connector_id
        ORDER BY connector_id LIMIT 1
    ) n
)
SELECT r.connector_id, coalesce(c.broken_reason, c.circuit_reason, '') AS reason
FROM routed r LEFT JOIN connectors c ON c.id = r.connector_id
WHERE c.id IS NULL OR NOT (({_USABLE}) OR coalesce({_IS_PROBED}, false))
"""

# The limit is a number in the statement: of a parameter the planner expects a tenth of the queue.
BATCH: Final = 500
_WAITING: Final = f"""
SELECT message_id, project_id FROM send_queue
WHERE state = {DUE} AND has_next AND connector_id = %s AND due_at <= now()
ORDER BY due_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
"""

_LEAVE_UNUSABLE: Final = f"""
WITH leaving AS MATERIALIZED (
    SELECT r.*, 'unavailable' AS fault, true AS only_usable, false AS suppress,
        'CONNECTOR_UNAVAILABLE' AS code, NULL::uuid AS attempt_id, NULL::int AS number
    FROM {recordset(_Unusable, "r")}
), {FALLBACK}
SELECT lane, connector_id FROM next_way
"""

_HAS_NO_NEXT: Final = "UPDATE send_queue SET has_next = false WHERE message_id = %s"


@dataclass(frozen=True, slots=True)
class Left:
    """`turns`: what goes on, and whose turn to ring after the commit.

    `busy`: being sent right now; ask again later.

    What is in neither has no way left (or was left already): the failure is the message's own.
    """

    turns: dict[UUID, Turn]
    busy: frozenset[UUID]


async def leave_failed_ways(
    connection: psycopg.AsyncConnection[Any], failures: Sequence[FailedWay]
) -> Left:
    """Take messages whose current way a receipt reports as failed to their next one; one failure a
    message.

    The queue row may be watched or long gone. Commit, then ring the turns. A failed way that is not
    the message's current one changes nothing.
    """
    if not failures:
        return Left({}, frozenset())
    rows = [
        _Failed(
            failure.message_id,
            failure.project_id,
            failure.connector_id,
            failure.code,
            failure.reason,
            new_id(),
        )
        for failure in failures
    ]
    cursor = connection.cursor(row_factory=class_row(_AfterFailure))
    await cursor.execute(_LEAVE_FAILED, _parameters(rows))
    turns: dict[UUID, Turn] = {}
    busy: set[UUID] = set()
    for row in await cursor.fetchall():
        if row.connector_id is not None and row.lane is not None:
            turns[row.message_id] = (row.lane, row.connector_id)
        if row.is_busy:
            busy.add(row.message_id)
    return Left(turns, frozenset(busy))


async def find_unusable(connection: psycopg.AsyncConnection[Any]) -> dict[UUID, str]:
    """Return the connectors that can't be used and that messages with further ways wait for, with
    the reason.
    """
    cursor = connection.cursor(row_factory=class_row(_UnusableConnector))
    await cursor.execute(_UNUSABLE_CONNECTORS)
    return {row.connector_id: row.reason for row in await cursor.fetchall()}


async def leave_unusable(
    connection: psycopg.AsyncConnection[Any], connector_id: UUID, why: str
) -> list[Turn]:
    """Take up to BATCH messages that are due at this connector to their next usable way, where they
    have one.
    """
    rows = await _unusable(connection, connector_id, why)
    return await _leave(connection, rows) if rows else []


async def leave_unusable_one_by_one(
    connection: psycopg.AsyncConnection[Any], connector_id: UUID, why: str
) -> list[Turn]:
    """As `leave_unusable`, where one message's ways cannot be read: that one has no further way
    from now on.
    """
    turns: list[Turn] = []
    for row in await _unusable(connection, connector_id, why):
        try:
            async with connection.transaction():
                turns += await _leave(connection, [row])
        except psycopg.Error as exc:
            if not is_about_the_item(exc):
                raise
            log.error(  # noqa: TRY400
                "sweep.ways_unreadable", message_id=str(row.message_id), sqlstate=exc.sqlstate
            )
            await connection.execute(_HAS_NO_NEXT, (row.message_id,))
    return turns


async def _unusable(
    connection: psycopg.AsyncConnection[Any], connector_id: UUID, why: str
) -> list[_Unusable]:
    cursor = connection.cursor(row_factory=class_row(_Waiting))
    await cursor.execute(_WAITING, (connector_id,))
    reason = f"The connector cannot be used. {why}".strip()
    return [
        _Unusable(waiting.message_id, waiting.project_id, reason, new_id())
        for waiting in await cursor.fetchall()
    ]


async def _leave(connection: psycopg.AsyncConnection[Any], rows: Sequence[_Unusable]) -> list[Turn]:
    cursor = connection.cursor(row_factory=class_row(_Turn))
    await cursor.execute(_LEAVE_UNUSABLE, _parameters(rows))
    return [(turn.lane, turn.connector_id) for turn in await cursor.fetchall()]


def _parameters(rows: Sequence[_Failed | _Unusable]) -> dict[str, Any]:
    return {"rows": orjson.dumps(rows).decode(), **id_range(row.message_id for row in rows)}
