"""End messages that will not be sent: with a status, a reason and an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg

from backend.ids import new_id
from backend.ledger.events import insert_events
from backend.ledger.locking import id_range
from backend.models.recordset import recordset
from backend.status import Status

# What has certainly not been sent.
UNSENT: Final = (Status.SCHEDULED, Status.QUEUED)


@dataclass(frozen=True, slots=True)
class Queued:
    """A message in the queue."""

    message_id: UUID
    project_id: UUID


@dataclass(frozen=True, slots=True)
class Ending:
    """How messages end; those that are in another status than `of` only leave the queue."""

    status: Status
    code: str
    reason: str
    of: Sequence[Status] = UNSENT


@dataclass(frozen=True, slots=True)
class _Ended:
    message_id: UUID
    project_id: UUID
    event_id: UUID


# Failed ones become dead letters.
_END: Final = f"""
WITH ended AS MATERIALIZED (
    SELECT * FROM {recordset(_Ended, "r")}
), gone AS (
    DELETE FROM send_queue q USING ended e WHERE q.message_id = e.message_id
), moved AS (
    UPDATE messages m
    SET status = %(status)s::text, error_code = %(code)s, error_reason = %(reason)s,
        updated_at = now(),
        failed_at = CASE WHEN %(status)s::text = 'uncertain' THEN m.failed_at ELSE now() END
    FROM ended e
    WHERE m.id = e.message_id AND m.status = ANY(%(of)s)
        AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
    RETURNING m.id, m.project_id
), dead AS (
    INSERT INTO dead_letters (message_id, project_id)
    SELECT id, project_id FROM moved WHERE %(status)s::text = 'failed' ON CONFLICT DO NOTHING
)
{
    insert_events('''
    SELECT e.event_id, e.project_id, e.message_id, 'message.' || %(status)s::text,
        jsonb_build_object('code', %(code)s::text, 'reason', %(reason)s::text), now()
    FROM ended e JOIN moved ON moved.id = e.message_id''')
}
"""
_REMOVE: Final = "DELETE FROM send_queue WHERE message_id = %s"


async def end_messages(
    connection: psycopg.AsyncConnection[Any], messages: Sequence[Queued], ending: Ending
) -> None:
    """End messages whose queue rows the transaction has locked."""
    if not messages:
        return
    rows = [_Ended(message.message_id, message.project_id, new_id()) for message in messages]
    values = {
        "rows": orjson.dumps(rows).decode(),
        "status": ending.status.value,
        "code": ending.code,
        "reason": ending.reason,
        "of": [status.value for status in ending.of],
        **id_range(row.message_id for row in rows),
    }
    await connection.execute(_END, values)


async def drop_from_queue(connection: psycopg.AsyncConnection[Any], message_id: UUID) -> None:
    """Delete a queue row whose message cannot be changed, so that it is never tried again."""
    await connection.execute(_REMOVE, (message_id,))
