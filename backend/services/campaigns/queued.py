"""What a campaign has in the queue, and its rows, changed all at once.

What a worker has claimed is left alone.

The locks on queue rows are the ones that a claim takes (SKIP LOCKED), so that never both happen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

import orjson
import psycopg
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.ids import new_id

if TYPE_CHECKING:
    from backend.ledger.accept import IdempotencyKey
    from backend.services.campaigns.check import RowError

_UNCLAIMED: Final = """
    SELECT q.message_id FROM campaign_rows r JOIN send_queue q ON q.message_id = r.message_id
    WHERE r.campaign_id = %(campaign)s AND r.state = 'accepted' AND q.state = 0
"""
# Far enough that nothing takes it for due, and the time between tries is there again afterwards.
_HOLD: Final = f"""
WITH held AS MATERIALIZED (
    {_UNCLAIMED} AND q.due_at < now() + interval '50 years' FOR UPDATE OF q SKIP LOCKED
)
UPDATE send_queue q SET due_at = due_at + interval '100 years' FROM held
    WHERE q.message_id = held.message_id
"""  # noqa: S608 (made of constants)
_RELEASE: Final = f"""
WITH held AS MATERIALIZED ({_UNCLAIMED} AND q.due_at > now() + interval '50 years' FOR UPDATE OF q)
UPDATE send_queue q SET due_at = due_at - interval '100 years' FROM held
    WHERE q.message_id = held.message_id
"""  # noqa: S608 (made of constants)
_LOCK: Final = f"{_UNCLAIMED} FOR UPDATE OF q SKIP LOCKED"
# Under the locks, in a statement of its own: what a worker recorded in between is seen.
_CANCEL: Final = """
UPDATE messages SET status = 'canceled', updated_at = now()
WHERE id = ANY(%(ids)s) AND status IN ('queued', 'scheduled') RETURNING id, project_id
"""
_FORGET: Final = "DELETE FROM send_queue WHERE message_id = ANY(%(ids)s)"
_TELL: Final = """
INSERT INTO events (id, project_id, message_id, type, data, created_at)
SELECT id, project_id, message_id, 'message.canceled', '{}', now()
FROM json_to_recordset(%(rows)s::json) AS r(id uuid, project_id uuid, message_id uuid)
"""

_REFUSE: Final = """
UPDATE campaign_rows r SET state = 'failed', error_field = e.field, error_code = e.code,
    error_reason = e.message
FROM json_to_recordset(%(errors)s::json) AS e(row int, field text, code text, message text)
WHERE r.campaign_id = %(campaign)s AND r.line = e.row AND r.state = 'pending'
"""
_COUNT: Final = """
SELECT count(*) FILTER (WHERE state = 'accepted'), count(*) FILTER (WHERE state = 'failed')
FROM campaign_rows WHERE campaign_id = %(campaign)s
"""

_TAKE_KEY: Final = """
INSERT INTO idempotency_records AS i (project_id, route, key, request_hash, message_id, expires_at)
VALUES (%(project)s, %(route)s, %(key)s, %(hash)s, %(campaign)s, now() + make_interval(secs =>
    %(ttl_s)s))
ON CONFLICT (project_id, route, key) DO UPDATE
    SET request_hash = excluded.request_hash, message_id = excluded.message_id,
        expires_at = excluded.expires_at
    WHERE i.expires_at <= now()
RETURNING message_id
"""
_EARLIER: Final = """
SELECT message_id, request_hash FROM idempotency_records
WHERE project_id = %(project)s AND route = %(route)s AND key = %(key)s
"""
_STILL_EARLIER: Final = f"{_EARLIER} AND expires_at > now()"


async def driver(session: AsyncSession) -> psycopg.AsyncConnection[Any]:
    """Return the session's connection as psycopg has it, within the same transaction."""
    connection = await (await session.connection()).get_raw_connection()
    return cast("psycopg.AsyncConnection[Any]", connection.driver_connection)


async def hold(session: AsyncSession, campaign_id: UUID) -> None:
    await (await driver(session)).execute(_HOLD, {"campaign": campaign_id})


async def release(session: AsyncSession, campaign_id: UUID) -> None:
    await (await driver(session)).execute(_RELEASE, {"campaign": campaign_id})


async def cancel(session: AsyncSession, campaign_id: UUID) -> int:
    """Return how many messages were canceled."""
    connection = await driver(session)
    locked = await (await connection.execute(_LOCK, {"campaign": campaign_id})).fetchall()
    cursor = await connection.execute(_CANCEL, {"ids": [row[0] for row in locked]})
    canceled = await cursor.fetchall()
    await connection.execute(_FORGET, {"ids": [message_id for message_id, _ in canceled]})
    rows = [
        {"id": new_id(), "project_id": project_id, "message_id": one}
        for one, project_id in canceled
    ]
    await connection.execute(_TELL, {"rows": orjson.dumps(rows).decode()})
    return len(canceled)


async def refuse_rows(session: AsyncSession, campaign_id: UUID, errors: Sequence[RowError]) -> None:
    if errors:
        values = {
            "campaign": campaign_id,
            "errors": orjson.dumps([asdict(error) for error in errors]).decode(),
        }
        await (await driver(session)).execute(_REFUSE, values)


async def count_rows(session: AsyncSession, campaign_id: UUID) -> tuple[int, int]:
    """Return (accepted, failed)."""
    row = await (
        await (await driver(session)).execute(_COUNT, {"campaign": campaign_id})
    ).fetchone()
    return (row[0], row[1]) if row is not None else (0, 0)


async def find_key(
    session: AsyncSession, project_id: UUID, key: IdempotencyKey
) -> tuple[UUID, bytes] | None:
    """Return (campaign, hash of the request) of an earlier use of the key that still counts."""
    names = {"project": project_id, "route": key.route, "key": key.key}
    earlier = await (await (await driver(session)).execute(_STILL_EARLIER, names)).fetchone()
    return (earlier[0], bytes(earlier[1])) if earlier is not None else None


async def take_key(
    session: AsyncSession, project_id: UUID, key: IdempotencyKey, *, campaign_id: UUID, ttl_s: int
) -> tuple[UUID, bytes] | None:
    """Return (campaign, hash of the request) of an earlier use of the key; None: it is ours now."""
    connection = await driver(session)
    names = {"project": project_id, "route": key.route, "key": key.key}
    values = {**names, "hash": key.request_hash, "campaign": campaign_id, "ttl_s": ttl_s}
    if await (await connection.execute(_TAKE_KEY, values)).fetchone() is not None:
        return None
    earlier = await (await connection.execute(_EARLIER, names)).fetchone()
    return (earlier[0], bytes(earlier[1])) if earlier is not None else None
