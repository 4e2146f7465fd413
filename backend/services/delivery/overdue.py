"""Step 7: messages that wait in vain: past their `expiresAt`, or too old behind a connector that
cannot send.

Ended by the sweeper in batches, through the queue's indexes, for nobody may ever claim them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import structlog

from backend.ids import new_id
from backend.ledger.onward import id_range
from backend.models.connector import UNUSABLE
from backend.models.send_queue import DUE, HELD
from backend.outages import is_about_the_item, is_outage
from backend.queueing import LANE_COUNT
from backend.services.connectors.config import LONGEST_RETRY_S
from backend.status import Status

log = structlog.get_logger()

# Limits are numbers in the statements: of a parameter the planner expects a tenth of the queue.
BATCH: Final = 500
_EXPIRED: Final = f"""
SELECT message_id, project_id FROM send_queue
WHERE state IN ({DUE}, {HELD}) AND expires_at IS NOT NULL AND expires_at <= now()
ORDER BY expires_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
"""  # noqa: S608 (made of constants)

# `due_at` of what waits is when it could have been sent first, or again.
_STUCK: Final = f"""
WITH unusable AS MATERIALIZED (
    SELECT id, CASE WHEN jsonb_typeof(config #> '{{retry,maxAgeS}}') = 'number'
        THEN least(greatest((config #> '{{retry,maxAgeS}}')::numeric, 0),
            {LONGEST_RETRY_S:.0f})::float8
        ELSE %(max_age_s)s END AS max_age_s
    FROM connectors WHERE deleted_at IS NULL AND ({UNUSABLE})
)
SELECT q.message_id, q.project_id
FROM unusable u CROSS JOIN generate_series(0, {LANE_COUNT - 1}) AS lanes (lane)
CROSS JOIN LATERAL (
    SELECT message_id, project_id FROM send_queue
    WHERE state = 0 AND send_queue.lane = lanes.lane AND connector_id = u.id
        AND due_at <= now() - make_interval(secs => u.max_age_s)
    ORDER BY due_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
) q
LIMIT {BATCH}
"""  # noqa: S608 (made of constants)

_END: Final = """
WITH ended AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS r(message_id uuid, project_id uuid, event_id
        uuid)
), gone AS (
    DELETE FROM send_queue q USING ended e WHERE q.message_id = e.message_id
), moved AS (
    UPDATE messages m
    SET status = %(status)s::text, error_code = %(code)s, error_reason = %(reason)s,
        updated_at = now(),
        failed_at = CASE WHEN %(status)s::text = 'uncertain' THEN m.failed_at ELSE now() END
    FROM ended e
    WHERE m.id = e.message_id AND m.status = ANY(%(of)s) AND m.id >= %(lowest)s::uuid
        AND m.id <= %(highest)s::uuid
    RETURNING m.id, m.project_id
), dead AS (
    INSERT INTO dead_letters (message_id, project_id)
    SELECT id, project_id FROM moved WHERE %(status)s::text = 'failed' ON CONFLICT DO NOTHING
)
INSERT INTO events (id, project_id, message_id, type, data, created_at)
SELECT e.event_id, e.project_id, e.message_id, 'message.' || %(status)s::text,
    jsonb_build_object('code', %(code)s::text, 'reason', %(reason)s::text), now()
FROM ended e JOIN moved ON moved.id = e.message_id
"""

LEAVE: Final = "DELETE FROM send_queue WHERE message_id = %s"

UNSENT: Final = (Status.SCHEDULED, Status.QUEUED)


async def end_expired(connection: psycopg.AsyncConnection[Any]) -> int:
    """End up to BATCH messages past their `expiresAt`; one that may have been delivered already
    only stops.
    """
    cursor = await connection.execute(_EXPIRED)
    return await _end_each(
        connection,
        await cursor.fetchall(),
        Status.EXPIRED,
        "EXPIRED",
        "Not sent before its expiresAt.",
        of=UNSENT,
    )


async def end_stuck(connection: psycopg.AsyncConnection[Any], *, max_age_s: float) -> int:
    """End up to BATCH messages that have waited `max_age_s` for a connector that cannot send."""
    cursor = await connection.execute(_STUCK, {"max_age_s": max_age_s})
    reason = f"Given up after waiting {max_age_s / 3600:g} h for a connector that cannot send."
    of = (*UNSENT, Status.UNCERTAIN, Status.SENT)
    return await _end_each(
        connection, await cursor.fetchall(), Status.FAILED, "RETRIES_EXHAUSTED", reason, of=of
    )


async def _end_each(
    connection: psycopg.AsyncConnection[Any],
    messages: Sequence[tuple[UUID, UUID]],
    status: Status,
    code: str,
    reason: str,
    *,
    of: Sequence[Status],
) -> int:
    """End all at once; where the database refuses that, one by one: one that it refuses only leaves
    the queue.

    Returns how many are out of the queue.
    """
    try:
        async with connection.transaction():
            await end_messages(connection, messages, status, code, reason, of=of)
    except psycopg.Error as exc:
        if is_outage(exc):
            raise
        return sum(
            [await _end_alone(connection, one, status, code, reason, of=of) for one in messages]
        )
    return len(messages)


async def _end_alone(
    connection: psycopg.AsyncConnection[Any],
    message: tuple[UUID, UUID],
    status: Status,
    code: str,
    reason: str,
    *,
    of: Sequence[Status],
) -> bool:
    """Return whether it is out of the queue."""
    try:
        async with connection.transaction():
            await end_messages(connection, [message], status, code, reason, of=of)
    except psycopg.Error as exc:
        if is_outage(exc):
            raise
        # Not the error's text: Postgres quotes the row in it.
        log.error("sweep.message_refused", message_id=str(message[0]), sqlstate=exc.sqlstate)  # noqa: TRY400
        if not is_about_the_item(exc):
            return False
        await connection.execute(LEAVE, (message[0],))
    return True


async def end_messages(
    connection: psycopg.AsyncConnection[Any],
    messages: Sequence[tuple[UUID, UUID]],
    status: Status,
    code: str,
    reason: str,
    *,
    of: Sequence[Status],
) -> None:
    """End messages (id, project) whose queue rows the transaction has locked, with dead letters for
    failed ones.
    """
    if messages:
        rows = [
            {"message_id": message_id, "project_id": project_id, "event_id": new_id()}
            for message_id, project_id in messages
        ]
        await connection.execute(
            _END,
            {
                "rows": orjson.dumps(rows).decode(),
                "status": status.value,
                "code": code,
                "reason": reason,
                "of": [one.value for one in of],
                **id_range(message_id for message_id, _ in messages),
            },
        )
