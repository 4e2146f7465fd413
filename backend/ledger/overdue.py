"""Messages that wait for nothing: past their `expiresAt`, or too old behind a connector that can't
send.

Ended in batches, through the queue's indexes, for no worker may ever claim them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
import structlog
from psycopg.rows import class_row

from backend.ledger.ending import UNSENT, Ending, Queued, drop_from_queue, end_messages
from backend.models.connector import LONGEST_RETRY_S, UNUSABLE
from backend.models.send_queue import DUE, HELD
from backend.outages import is_about_the_item, is_outage
from backend.queueing import LANE_COUNT
from backend.status import Status

log = structlog.get_logger()

# Limits are numbers in the statements: of a parameter the planner expects a tenth of the queue.
BATCH: Final = 500
_EXPIRED: Final = f"""
SELECT message_id, project_id FROM send_queue
WHERE state IN ({DUE}, {HELD}) AND expires_at IS NOT NULL AND expires_at <= now()
ORDER BY expires_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
"""

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
    WHERE state = {DUE} AND send_queue.lane = lanes.lane AND connector_id = u.id
        AND due_at <= now() - make_interval(secs => u.max_age_s)
    ORDER BY due_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
) q
LIMIT {BATCH}
"""


async def end_expired(connection: psycopg.AsyncConnection[Any]) -> int:
    """End up to BATCH messages past their `expiresAt`; one that may have been delivered already
    only stops.
    """
    messages = await _locked(connection, _EXPIRED, {})
    ending = Ending(Status.EXPIRED, "EXPIRED", "Not sent before its expiresAt.")
    return await _end_each(connection, messages, ending)


async def end_stuck(connection: psycopg.AsyncConnection[Any], *, max_age_s: float) -> int:
    """End up to BATCH messages that have waited `max_age_s` for a connector that cannot send."""
    messages = await _locked(connection, _STUCK, {"max_age_s": max_age_s})
    reason = f"Given up after waiting {max_age_s / 3600:g} h for a connector that cannot send."
    of = (*UNSENT, Status.UNCERTAIN, Status.SENT)
    ending = Ending(Status.FAILED, "RETRIES_EXHAUSTED", reason, of)
    return await _end_each(connection, messages, ending)


async def _locked(
    connection: psycopg.AsyncConnection[Any], statement: str, values: dict[str, Any]
) -> list[Queued]:
    cursor = connection.cursor(row_factory=class_row(Queued))
    await cursor.execute(statement, values)
    return await cursor.fetchall()


async def _end_each(
    connection: psycopg.AsyncConnection[Any], messages: Sequence[Queued], ending: Ending
) -> int:
    """End all at once; where the database refuses that, one by one: one that it refuses only leaves
    the queue.

    Returns how many are out of the queue.
    """
    try:
        async with connection.transaction():
            await end_messages(connection, messages, ending)
    except psycopg.Error as exc:
        if is_outage(exc):
            raise
        return sum([await _end_alone(connection, message, ending) for message in messages])
    return len(messages)


async def _end_alone(
    connection: psycopg.AsyncConnection[Any], message: Queued, ending: Ending
) -> bool:
    """Return whether it is out of the queue."""
    try:
        async with connection.transaction():
            await end_messages(connection, [message], ending)
    except psycopg.Error as exc:
        if is_outage(exc):
            raise
        # Not the error's text: Postgres quotes the row in it.
        log.error(  # noqa: TRY400
            "sweep.message_refused", message_id=str(message.message_id), sqlstate=exc.sqlstate
        )
        if not is_about_the_item(exc):
            return False
        await drop_from_queue(connection, message.message_id)
    return True
