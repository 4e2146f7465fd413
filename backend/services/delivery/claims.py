"""Claims: leases on queue rows. A result must carry its claim; a lost lease cannot write.

    due -> claimed -> in_flight -> (deleted | due again)

A claimed row was not shown to a provider yet: after a crash it is sent again. An in-flight one may
have been: after a crash it is uncertain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from backend.ids import new_id
from backend.models.session import RawPool
from backend.queueing import Turn


@dataclass(frozen=True, slots=True)
class Claim:
    """One message that this worker may send, until its lease ends. `tries` counts this one."""

    number: UUID
    message_id: UUID
    project_id: UUID
    connector_id: UUID
    lane: int
    tries: int
    attempt_number: int
    recipient: str
    content: dict[str, Any]
    status: str
    on_uncertain: str
    created_at: datetime
    expires_at: datetime | None


# Driven by the index on (lane, connector_id, due_at, message_id): LATERAL with a limit for each turn, and a
# MATERIALIZED CTE so that the rows locked are exactly the rows claimed. Messages are fetched one
# by one through their primary key, which also picks the partition at run time.
_CLAIM: Final = """
WITH picked AS MATERIALIZED (
    SELECT q.message_id
    FROM json_to_recordset(%(turns)s::json) AS t(lane smallint, connector_id uuid)
    CROSS JOIN LATERAL (
        SELECT message_id FROM send_queue
        WHERE state = 0 AND lane = t.lane AND connector_id = t.connector_id AND due_at <= now()
        ORDER BY due_at, message_id LIMIT %(most)s
        FOR UPDATE SKIP LOCKED
    ) q
), claimed AS (
    UPDATE send_queue q
    SET state = 1, claim = %(number)s, tries = tries + 1, lease_until = now() + make_interval(secs => %(lease_s)s)
    FROM picked WHERE q.message_id = picked.message_id
    RETURNING q.message_id, q.project_id, q.connector_id, q.lane, q.tries
)
SELECT c.message_id, c.project_id, c.connector_id, c.lane, c.tries, m.attempts + 1, m.recipient, m.content,
       m.status, m.on_uncertain, m.created_at, m.expires_at
FROM claimed c
CROSS JOIN LATERAL (SELECT * FROM messages WHERE messages.id = c.message_id LIMIT 1) m
"""

_MARK_IN_FLIGHT: Final = """
UPDATE send_queue SET state = 2 WHERE message_id = ANY(%s) AND claim = %s AND state = 1 RETURNING message_id
"""

_RENEW: Final = """
UPDATE send_queue SET lease_until = now() + make_interval(secs => %s)
WHERE message_id = ANY(%s) AND claim = ANY(%s) AND state <> 0
"""

# `tries - 1`: what was not sent is not a try.
_RELEASE: Final = """
UPDATE send_queue q
SET state = 0, claim = NULL, lease_until = NULL, tries = greatest(0, tries - 1),
    due_at = now() + make_interval(secs => %(delay_s)s)
FROM json_to_recordset(%(rows)s::json) AS r(message_id uuid, claim uuid)
WHERE q.message_id = r.message_id AND q.claim = r.claim
"""


class Claims:
    def __init__(self, pool: RawPool, *, lease_s: float) -> None:
        self._pool = pool
        self._lease_s = lease_s

    async def take(self, turns: Sequence[Turn], most_each: int) -> list[Claim]:
        """Lease up to `most_each` due messages of each turn, oldest first."""
        number = new_id()
        rows = orjson.dumps([{"lane": lane, "connector_id": connector_id} for lane, connector_id in turns]).decode()
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                _CLAIM, {"turns": rows, "most": most_each, "number": number, "lease_s": self._lease_s}, prepare=True
            )
            return [Claim(number, *row) for row in await cursor.fetchall()]

    async def mark_in_flight(self, claims: Sequence[Claim]) -> set[UUID]:
        """Return the messages that are still ours, now marked; only these may be sent."""
        numbers = {claim.number for claim in claims}
        mine: set[UUID] = set()
        async with self._pool.connection() as connection:
            for number in numbers:
                ids = [claim.message_id for claim in claims if claim.number == number]
                cursor = await connection.execute(_MARK_IN_FLIGHT, (ids, number), prepare=True)
                mine.update(row[0] for row in await cursor.fetchall())
        return mine

    async def renew(self, claims: Sequence[Claim]) -> None:
        ids = [claim.message_id for claim in claims]
        numbers = list({claim.number for claim in claims})
        async with self._pool.connection() as connection:
            await connection.execute(_RENEW, (self._lease_s, ids, numbers))

    async def release(self, claims: Sequence[Claim], *, delay_s: float = 0.0) -> None:
        """Give back what was surely not sent."""
        rows = orjson.dumps([{"message_id": c.message_id, "claim": c.number} for c in claims]).decode()
        async with self._pool.connection() as connection:
            await connection.execute(_RELEASE, {"rows": rows, "delay_s": delay_s})
