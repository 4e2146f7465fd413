"""Hold what a paused campaign has waiting, and let it go on.

What a worker has claimed is left alone: the locks on queue rows are the ones that a claim takes
(SKIP LOCKED), so that a message is never both held and sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from backend.ledger.cancel import cancel_campaign
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
# Code that does not know the state yet resumes or cancels a campaign without what is held of it. A
# project that holds nothing costs a look at an empty index.
_FORGOTTEN: Final = f"""
SELECT c.id AS campaign_id, c.state FROM campaigns c
WHERE c.state IN ('running', 'completed', 'canceled')
    AND (c.ended_at IS NULL OR c.ended_at > now() - interval '1 hour')
    AND EXISTS (
        SELECT FROM send_queue q WHERE q.state = {HELD} AND q.project_id = c.project_id
    )
FOR SHARE OF c SKIP LOCKED
"""


@dataclass(frozen=True, slots=True)
class _Forgotten:
    campaign_id: UUID
    state: str


async def hold_campaign(connection: psycopg.AsyncConnection[Any], campaign_id: UUID) -> None:
    await connection.execute(_HOLD, {"campaign": campaign_id})


async def release_campaign(connection: psycopg.AsyncConnection[Any], campaign_id: UUID) -> None:
    """The time between tries is what it was."""
    await connection.execute(_RELEASE, {"campaign": campaign_id})
    await connection.execute(_RELEASE_PUT_OFF, {"campaign": campaign_id})


async def settle_forgotten(connection: psycopg.AsyncConnection[Any]) -> None:
    """Release or cancel what is held although its campaign isn't paused.

    While a fleet is upgraded, the version before resumes and cancels campaigns too.
    """
    async with connection.transaction():
        async with connection.cursor(row_factory=class_row(_Forgotten)) as cursor:
            await cursor.execute(_FORGOTTEN)
            campaigns = await cursor.fetchall()
        for campaign in campaigns:
            if campaign.state == "canceled":
                await cancel_campaign(connection, campaign.campaign_id)
            else:
                await release_campaign(connection, campaign.campaign_id)
