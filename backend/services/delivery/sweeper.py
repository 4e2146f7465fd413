"""The sweeper: finds what nobody rang for. Needs no bell, so that losing Redis loses nothing.

Every second, in whichever worker holds the advisory lock: expired leases, due retries, schedules.
Every minute: partitions ahead, idempotency keys and refresh tokens that have had their time.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import structlog

from backend.ids import new_id
from backend.models.partitions import partition_statements
from backend.models.session import RawPool
from backend.queueing import Doorbell, Turn

log = structlog.get_logger()

_EVERY_S: Final = 1.0
_MAINTENANCE_EVERY_S: Final = 60.0
_BATCH: Final = 1000
_SWEEP_LOCK: Final = 7_262_002
_LOST_REASON: Final = "The worker died while the provider was answering; it may have taken the message."

_FREE_CLAIMED: Final = """
UPDATE send_queue SET state = 0, claim = NULL, lease_until = NULL, due_at = now(), tries = greatest(0, tries - 1)
WHERE message_id IN (
    SELECT message_id FROM send_queue WHERE state = 1 AND lease_until < now() LIMIT %s FOR UPDATE SKIP LOCKED
)
RETURNING lane, connector_id
"""

# The worker is gone, so nobody knows what the provider made of it: uncertain.
_LOST_IN_FLIGHT: Final = """
SELECT q.message_id, q.project_id, q.connector_id, q.lane, m.attempts + 1, m.on_uncertain
FROM (
    SELECT * FROM send_queue WHERE state = 2 AND lease_until < now() LIMIT %s FOR UPDATE SKIP LOCKED
) q
CROSS JOIN LATERAL (SELECT * FROM messages WHERE messages.id = q.message_id) m
"""

_SETTLE_LOST: Final = """
WITH lost AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS r(message_id uuid, project_id uuid, connector_id uuid,
        number int, resend bool, attempt_id uuid, event_id uuid)
), done AS (
    DELETE FROM send_queue q USING lost l WHERE q.message_id = l.message_id AND NOT l.resend
), again AS (
    UPDATE send_queue q SET state = 0, claim = NULL, lease_until = NULL, due_at = now()
    FROM lost l WHERE q.message_id = l.message_id AND l.resend
), attempted AS (
    INSERT INTO attempts (id, message_id, project_id, connector_id, number, outcome, provider_code, reason,
        started_at, duration_ms)
    SELECT attempt_id, message_id, project_id, connector_id, number, 'uncertain', '', %(reason)s, now(), 0 FROM lost
), moved AS (
    UPDATE messages m SET status = 'uncertain', attempts = l.number, error_reason = %(reason)s, updated_at = now()
    FROM lost l WHERE m.id = l.message_id AND m.status IN ('queued', 'scheduled')
)
INSERT INTO events (id, project_id, message_id, type, data, created_at)
SELECT event_id, project_id, message_id, 'message.uncertain', jsonb_build_object('reason', %(reason)s::text), now()
FROM lost
"""

# Jumps from one (lane, connector) to the next through the index, however many rows each has.
_DUE_TURNS: Final = """
WITH RECURSIVE turns AS (
    (SELECT lane, connector_id FROM send_queue WHERE state = 0 ORDER BY lane, connector_id LIMIT 1)
    UNION ALL
    SELECT n.lane, n.connector_id FROM turns t CROSS JOIN LATERAL (
        SELECT lane, connector_id FROM send_queue
        WHERE state = 0 AND (lane, connector_id) > (t.lane, t.connector_id)
        ORDER BY lane, connector_id LIMIT 1
    ) n
)
SELECT lane, connector_id FROM turns t WHERE EXISTS (
    SELECT 1 FROM send_queue q
    WHERE q.state = 0 AND q.lane = t.lane AND q.connector_id = t.connector_id AND q.due_at <= now()
)
"""

_FORGET_KEYS: Final = """
DELETE FROM idempotency_records WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM idempotency_records WHERE expires_at < now() LIMIT 5000))
"""
# A log-in's tokens live longer than its last use is worth knowing; the family goes with them.
_FORGET_TOKENS: Final = """
DELETE FROM refresh_tokens WHERE token_hash = ANY(ARRAY(
    SELECT token_hash FROM refresh_tokens WHERE expires_at < now() - interval '1 day' LIMIT 5000))
"""
_FORGET_SESSIONS: Final = """
DELETE FROM sessions WHERE id = ANY(ARRAY(
    SELECT id FROM sessions s WHERE expires_at < now() - interval '7 days'
    AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.session_id = s.id) LIMIT 5000))
"""


class Sweeper:
    def __init__(self, pool: RawPool, doorbell: Doorbell) -> None:
        self._pool = pool
        self._doorbell = doorbell
        self._maintained_at = 0.0

    async def run(self) -> None:
        """Sweep every second until cancelled; a failed round is logged and the next one tries again."""
        while True:
            try:
                await self.sweep()
            except psycopg.OperationalError as exc:
                log.warning("sweep.database_away", error=type(exc).__name__)
            except psycopg.Error:
                log.exception("sweep.failed")
            await asyncio.sleep(_EVERY_S)

    async def sweep(self) -> set[Turn]:
        """Do one round; returns the turns that were rung, empty when another worker sweeps."""
        turns: set[Turn] = set()
        async with self._pool.connection() as connection, connection.transaction():
            cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_SWEEP_LOCK,))
            row = await cursor.fetchone()
            if row is None or not row[0]:
                return turns
            turns |= await self._free_expired_leases(connection)
            cursor = await connection.execute(_DUE_TURNS)
            turns |= {(lane, connector_id) for lane, connector_id in await cursor.fetchall()}
        self._doorbell.ring(turns)
        if time.monotonic() - self._maintained_at > _MAINTENANCE_EVERY_S:
            self._maintained_at = time.monotonic()
            await self._maintain()
        return turns

    async def _free_expired_leases(self, connection: psycopg.AsyncConnection[Any]) -> set[Turn]:
        cursor = await connection.execute(_FREE_CLAIMED, (_BATCH,))
        turns: set[Turn] = {(lane, connector_id) for lane, connector_id in await cursor.fetchall()}
        cursor = await connection.execute(_LOST_IN_FLIGHT, (_BATCH,))
        lost = await cursor.fetchall()
        if lost:
            await connection.execute(_SETTLE_LOST, {"rows": _lost_rows(lost), "reason": _LOST_REASON})
            log.warning("sweep.uncertain", messages=len(lost))
        if turns or lost:
            log.info("sweep.leases_expired", claimed=len(turns), in_flight=len(lost))
        return turns

    async def _maintain(self) -> None:
        async with self._pool.connection() as connection:
            for statement in partition_statements():
                await connection.execute(statement)
            await connection.execute(_FORGET_KEYS)
            await connection.execute(_FORGET_TOKENS)
            await connection.execute(_FORGET_SESSIONS)


def _lost_rows(lost: list[tuple[UUID, UUID, UUID, int, int, str]]) -> str:
    return orjson.dumps(
        [
            {
                "message_id": message_id,
                "project_id": project_id,
                "connector_id": connector_id,
                "number": number,
                "resend": on_uncertain == "resend",
                "attempt_id": new_id(),
                "event_id": new_id(),
            }
            for message_id, project_id, connector_id, _lane, number, on_uncertain in lost
        ]
    ).decode()
