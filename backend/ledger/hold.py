"""Hold what a paused campaign has waiting, and let it go on.

What a worker has claimed is left alone: the locks on queue rows are the ones that a claim takes
(SKIP LOCKED), so that a message is never both held and sent.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import psycopg

from backend.models.send_queue import DUE, HELD

_OF_CAMPAIGN: Final = """
    SELECT q.message_id FROM campaign_rows r JOIN send_queue q ON q.message_id = r.message_id
    WHERE r.campaign_id = %(campaign)s AND r.state = 'accepted'
"""
_HOLD: Final = f"""
WITH due AS MATERIALIZED ({_OF_CAMPAIGN} AND q.state = {DUE} FOR UPDATE OF q SKIP LOCKED)
UPDATE send_queue q SET state = {HELD} FROM due WHERE q.message_id = due.message_id
"""
_RELEASE: Final = f"""
WITH held AS MATERIALIZED ({_OF_CAMPAIGN} AND q.state = {HELD} FOR UPDATE OF q)
UPDATE send_queue q SET state = {DUE} FROM held WHERE q.message_id = held.message_id
"""
# Before there was a state for it, what was paused was put off by a century.
_RELEASE_PUT_OFF: Final = f"""
WITH held AS MATERIALIZED (
    {_OF_CAMPAIGN} AND q.state = {DUE} AND q.due_at > now() + interval '50 years' FOR UPDATE OF q
)
UPDATE send_queue q SET due_at = due_at - interval '100 years' FROM held
WHERE q.message_id = held.message_id
"""


async def hold_campaign(connection: psycopg.AsyncConnection[Any], campaign_id: UUID) -> None:
    await connection.execute(_HOLD, {"campaign": campaign_id})


async def release_campaign(connection: psycopg.AsyncConnection[Any], campaign_id: UUID) -> None:
    """The time between tries is what it was."""
    await connection.execute(_RELEASE, {"campaign": campaign_id})
    await connection.execute(_RELEASE_PUT_OFF, {"campaign": campaign_id})
