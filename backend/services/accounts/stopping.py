"""Stop a project and let it go on: from the commit on nothing of it is claimed, fed or accepted.

What is switched off waits and goes on later; what was deleted is canceled. The send path asks
`IS_OPEN` (models/project.py); here is what has to happen once, in the transaction of the change.
"""

from __future__ import annotations

from typing import Any, Final, cast
from uuid import UUID

import orjson
import psycopg
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.ids import new_id
from backend.models import Connector, ProjectMember
from backend.models.session import Change, announce
from backend.queueing import LANE_COUNT

DELETED_REASON: Final = "The project was deleted."
_BATCH: Final = 1000
# Of the request that deletes; what is more than that, the sweeper cancels.
_BATCHES_AT_ONCE: Final = 5

# Claimed, but shown to no provider yet: the worker that marks it in flight finds that it is not its
# own any more.
_TAKE_BACK: Final = """
WITH claimed AS MATERIALIZED (
    SELECT message_id FROM send_queue WHERE state = 1 AND project_id = %(project)s
        FOR UPDATE SKIP LOCKED
)
UPDATE send_queue q SET state = 0, claim = NULL, lease_until = NULL, tries = greatest(0, tries - 1)
FROM claimed WHERE q.message_id = claimed.message_id
"""
_CANCEL_CAMPAIGNS: Final = """
UPDATE campaigns c SET state = 'canceled', reason = %(reason)s, ended_at = now(),
    updated_at = now(),
    accepted_rows = (SELECT count(*) FROM campaign_rows r WHERE r.campaign_id = c.id
        AND r.state = 'accepted'),
    failed_rows = (SELECT count(*) FROM campaign_rows r WHERE r.campaign_id = c.id
        AND r.state = 'failed')
WHERE c.project_id = %(project)s AND c.state IN ('draft', 'running', 'paused')
"""
# Through the index of what is due, one connector and lane at a time.
_WAITING: Final = f"""
SELECT q.message_id FROM connectors c CROSS
    JOIN generate_series(0, {LANE_COUNT - 1}) AS lanes (lane)
CROSS JOIN LATERAL (
    SELECT message_id FROM send_queue
    WHERE state = 0 AND send_queue.lane = lanes.lane AND connector_id = c.id
    ORDER BY due_at LIMIT {_BATCH} FOR UPDATE SKIP LOCKED
) q
WHERE c.project_id = %(project)s LIMIT {_BATCH}
"""  # noqa: S608 (made of constants)
# Under the locks, in a statement of its own: what a worker recorded in between is seen.
_CANCEL: Final = """
WITH chosen AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS r(message_id uuid, event_id uuid)
), gone AS (
    DELETE FROM send_queue q USING chosen c WHERE q.message_id = c.message_id
), canceled AS (
    UPDATE messages m SET status = 'canceled', error_reason = %(reason)s, updated_at = now()
        FROM chosen c
    WHERE m.id = c.message_id AND m.status IN ('scheduled', 'queued')
        AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
    RETURNING m.id, m.project_id, c.event_id
)
INSERT INTO events (id, project_id, message_id, type, data, created_at)
SELECT event_id, project_id, id, 'message.canceled', jsonb_build_object('reason', %(reason)s::text),
    now() FROM canceled
"""
# Jumps through the index from one connector with waiting messages to the next.
_DELETED_WITH_MESSAGES: Final = """
WITH RECURSIVE waiting AS (
    (SELECT lane, connector_id FROM send_queue WHERE state = 0 ORDER BY lane, connector_id LIMIT 1)
    UNION ALL
    SELECT n.lane, n.connector_id FROM waiting w CROSS JOIN LATERAL (
        SELECT lane, connector_id FROM send_queue
        WHERE state = 0 AND (lane, connector_id) > (w.lane, w.connector_id) ORDER BY lane,
            connector_id LIMIT 1
    ) n
)
SELECT DISTINCT p.id FROM waiting w JOIN connectors c ON c.id = w.connector_id
JOIN projects p ON p.id = c.project_id WHERE p.deleted_at IS NOT NULL
"""


async def announce_project(session: AsyncSession, project_id: UUID) -> None:
    """Have every process ask again what the project and its connectors may do; what waits is looked
    at at once.
    """
    announce(session, Change("project", project_id))
    connectors = await session.exec(
        select(Connector.id).where(col(Connector.project_id) == project_id)
    )
    for connector_id in connectors:
        announce(session, Change("connector", connector_id))


async def hold_project(session: AsyncSession, project_id: UUID) -> None:
    """Call after the change that closes it: what a worker has claimed and not begun to send waits
    too.
    """
    await session.flush()
    await (await _driver(session)).execute(_TAKE_BACK, {"project": project_id})
    await announce_project(session, project_id)


async def hold_projects_of(session: AsyncSession, user_id: UUID) -> None:
    """Call after switching an owner off or on; a project with another active owner goes on."""
    owned = select(ProjectMember.project_id).where(
        col(ProjectMember.user_id) == user_id, col(ProjectMember.role) == "owner"
    )
    for project_id in (await session.exec(owned)).all():
        await hold_project(session, project_id)


async def end_project(session: AsyncSession, project_id: UUID) -> None:
    """Call after the deletion: cancels its campaigns, and what waits (of very much, the rest
    follows).
    """
    await session.flush()
    connection = await _driver(session)
    await connection.execute(_CANCEL_CAMPAIGNS, {"project": project_id, "reason": DELETED_REASON})
    await connection.execute(_TAKE_BACK, {"project": project_id})
    for _ in range(_BATCHES_AT_ONCE):
        if await cancel_waiting(connection, project_id) < _BATCH:
            break
    await announce_project(session, project_id)


async def find_ended(connection: psycopg.AsyncConnection[Any]) -> list[UUID]:
    """Return the deleted projects that have something in the queue."""
    return [row[0] for row in await (await connection.execute(_DELETED_WITH_MESSAGES)).fetchall()]


async def cancel_waiting(connection: psycopg.AsyncConnection[Any], project_id: UUID) -> int:
    """Cancel up to a batch of what the project has waiting; returns how many left the queue.

    In a transaction.
    """
    cursor = await connection.execute(_WAITING, {"project": project_id})
    message_ids = [row[0] for row in await cursor.fetchall()]
    if message_ids:
        rows = [{"message_id": message_id, "event_id": new_id()} for message_id in message_ids]
        bounds = {"lowest": min(message_ids), "highest": max(message_ids)}
        await connection.execute(
            _CANCEL, {"rows": orjson.dumps(rows).decode(), "reason": DELETED_REASON, **bounds}
        )
    return len(message_ids)


async def _driver(session: AsyncSession) -> psycopg.AsyncConnection[Any]:
    """Return the session's connection as psycopg has it, within the same transaction."""
    connection = await (await session.connection()).get_raw_connection()
    return cast("psycopg.AsyncConnection[Any]", connection.driver_connection)
