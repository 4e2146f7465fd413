"""Cancel messages that wait: one, a campaign's, or a project's.

The locks on their queue rows are the ones that a claim takes (SKIP LOCKED), so that a message is
never both canceled and sent. The rows are locked first, in a statement of their own: what a worker
recorded in between is seen by the one that changes messages (decision 0016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import scalar_row

from backend.ids import new_id
from backend.ledger.events import insert_events
from backend.models.recordset import recordset
from backend.models.send_queue import CLAIMED, DUE, HELD
from backend.queueing import LANE_COUNT

# Of a project, at once.
BATCH: Final = 1000
_WAITING: Final = f"({DUE}, {HELD})"


@dataclass(frozen=True, slots=True)
class _Canceled:
    message_id: UUID
    event_id: UUID


# One message that waits, of a project.
_LOCK_ONE: Final = f"""
SELECT message_id FROM send_queue
WHERE message_id = %(message)s AND project_id = %(project)s AND state IN {_WAITING}
FOR UPDATE
"""
# What a campaign has waiting; what a worker has claimed is left alone.
_LOCK_CAMPAIGN: Final = f"""
SELECT q.message_id FROM campaign_rows r JOIN send_queue q ON q.message_id = r.message_id
WHERE r.campaign_id = %(campaign)s AND r.state = 'accepted' AND q.state IN {_WAITING}
FOR UPDATE OF q SKIP LOCKED
"""
# Some of what a project has waiting: what is due, through its index, one connector and lane at a
# time; and what is held.
_LOCK_DUE_OF_PROJECT: Final = f"""
SELECT q.message_id
FROM connectors c CROSS JOIN generate_series(0, {LANE_COUNT - 1}) AS lanes (lane)
CROSS JOIN LATERAL (
    SELECT message_id FROM send_queue
    WHERE state = {DUE} AND send_queue.lane = lanes.lane AND connector_id = c.id
    ORDER BY due_at LIMIT {BATCH} FOR UPDATE SKIP LOCKED
) q
WHERE c.project_id = %(project)s LIMIT {BATCH}
"""
_LOCK_HELD_OF_PROJECT: Final = f"""
SELECT message_id FROM send_queue WHERE state = {HELD} AND project_id = %(project)s
LIMIT {BATCH} FOR UPDATE SKIP LOCKED
"""
# `leaves`: those leave the queue too that are past being canceled.
_CANCEL: Final = f"""
WITH chosen AS MATERIALIZED (
    SELECT * FROM {recordset(_Canceled, "r")}
), canceled AS (
    UPDATE messages m SET status = 'canceled', updated_at = now(),
        error_reason = coalesce(%(reason)s, error_reason)
    FROM chosen c
    WHERE m.id = c.message_id AND m.status IN ('scheduled', 'queued')
        AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
    RETURNING m.id, m.project_id, c.event_id
), gone AS (
    DELETE FROM send_queue q USING chosen c WHERE q.message_id = c.message_id
        AND (%(leaves)s OR q.message_id IN (SELECT id FROM canceled))
), events AS ({
    insert_events(
        "SELECT event_id, project_id, id, 'message.canceled',"
        " jsonb_strip_nulls(jsonb_build_object('reason', %(reason)s::text)), now() FROM canceled"
    )
}
)
SELECT id FROM canceled
"""
# Claimed, but shown to no provider yet: the worker that marks it in flight finds that it no longer
# has the claim.
_TAKE_BACK: Final = f"""
WITH claimed AS MATERIALIZED (
    SELECT message_id FROM send_queue WHERE state = {CLAIMED} AND project_id = %(project)s
    FOR UPDATE SKIP LOCKED
)
UPDATE send_queue q SET state = {DUE}, claim = NULL, lease_until = NULL,
    tries = greatest(0, tries - 1)
FROM claimed WHERE q.message_id = claimed.message_id
"""
# Jumps through the indexes from one connector with due messages, and one project with held ones, to
# the next.
_DELETED_WITH_MESSAGES: Final = f"""
WITH RECURSIVE due AS (
    (SELECT lane, connector_id FROM send_queue WHERE state = {DUE}
        ORDER BY lane, connector_id LIMIT 1)
    UNION ALL
    SELECT n.lane, n.connector_id FROM due d CROSS JOIN LATERAL (
        SELECT lane, connector_id FROM send_queue
        WHERE state = {DUE} AND (lane, connector_id) > (d.lane, d.connector_id)
        ORDER BY lane, connector_id LIMIT 1
    ) n
), held AS (
    (SELECT project_id FROM send_queue WHERE state = {HELD} ORDER BY project_id LIMIT 1)
    UNION ALL
    SELECT n.project_id FROM held h CROSS JOIN LATERAL (
        SELECT project_id FROM send_queue WHERE state = {HELD} AND project_id > h.project_id
        ORDER BY project_id LIMIT 1
    ) n
)
SELECT p.id FROM projects p WHERE p.deleted_at IS NOT NULL AND p.id IN (
    SELECT c.project_id FROM due d JOIN connectors c ON c.id = d.connector_id
    UNION SELECT project_id FROM held
)
"""


async def cancel_message(
    connection: psycopg.AsyncConnection[Any], project_id: UUID, message_id: UUID
) -> bool:
    """Cancel a message that no worker has claimed; tell whether it was. In a transaction."""
    values = {"project": project_id, "message": message_id}
    locked = await _ids(connection, _LOCK_ONE, values)
    return bool(await _cancel(connection, locked))


async def cancel_campaign(connection: psycopg.AsyncConnection[Any], campaign_id: UUID) -> int:
    """Cancel what a campaign has waiting; return how many messages that were. In a transaction."""
    return len(
        await _cancel(connection, await _ids(connection, _LOCK_CAMPAIGN, {"campaign": campaign_id}))
    )


async def cancel_project(
    connection: psycopg.AsyncConnection[Any], project_id: UUID, reason: str
) -> int:
    """Cancel up to BATCH of what a project has waiting; return how many left the queue.

    In a transaction.
    """
    values = {"project": project_id}
    locked = await _ids(connection, _LOCK_DUE_OF_PROJECT, values)
    if not locked:
        locked = await _ids(connection, _LOCK_HELD_OF_PROJECT, values)
    await _cancel(connection, locked, reason=reason, leaves=True)
    return len(locked)


async def take_back(connection: psycopg.AsyncConnection[Any], project_id: UUID) -> None:
    """Have what a worker has claimed of a project, and not begun to send, wait again."""
    await connection.execute(_TAKE_BACK, {"project": project_id})


async def find_deleted_projects(connection: psycopg.AsyncConnection[Any]) -> list[UUID]:
    """Return the deleted projects that have something in the queue."""
    return await _ids(connection, _DELETED_WITH_MESSAGES, {})


async def _cancel(
    connection: psycopg.AsyncConnection[Any],
    message_ids: Sequence[UUID],
    *,
    reason: str | None = None,
    leaves: bool = False,
) -> list[UUID]:
    """Return the messages that were canceled; their queue rows are locked."""
    if not message_ids:
        return []
    rows = [_Canceled(message_id, new_id()) for message_id in message_ids]
    values = {
        "rows": orjson.dumps(rows).decode(),
        "reason": reason,
        "leaves": leaves,
        "lowest": min(message_ids),
        "highest": max(message_ids),
    }
    return await _ids(connection, _CANCEL, values)


async def _ids(
    connection: psycopg.AsyncConnection[Any], statement: str, values: dict[str, Any]
) -> list[UUID]:
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(statement, values)
    return await cursor.fetchall()
