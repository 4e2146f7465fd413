"""Take messages out of the books: their content, or all of them.

Messages are locked before a statement that prunes partitions changes them (decision 0016). Who puts
a message back into the queue changes its status in the same transaction, and the lock on its row
shows it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import class_row, scalar_row

from backend.ledger.locking import lock_messages
from backend.models.recordset import JSONB, recordset

# Provider ids looked at in one step.
REFS_STEP: Final = 2000


@dataclass(frozen=True, slots=True)
class Redacted:
    """What a message keeps: its content masked or empty. `recipient` None: the one it has."""

    id: UUID
    content: Annotated[dict[str, Any], JSONB]
    recipient: str | None


@dataclass(frozen=True, slots=True)
class ProviderRefKey:
    connector_id: UUID
    provider_message_id: str


# The conditions again: a message may have been put back into the queue since it was looked at.
_REDACT: Final = f"""
WITH redacted AS (
    UPDATE messages m
    SET content = r.content, redacted_at = now(), route = NULL,
        recipient = coalesce(r.recipient, m.recipient),
        metadata = CASE WHEN r.recipient IS NULL THEN m.metadata END
    FROM {recordset(Redacted, "r")}
    WHERE m.id = r.id AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
        AND m.status NOT IN ('queued', 'scheduled')
        AND NOT EXISTS (SELECT FROM send_queue q WHERE q.message_id = m.id)
    RETURNING m.id
), forgotten AS (
    UPDATE attempts a SET answer = NULL FROM redacted d
    WHERE a.message_id = d.id AND a.id >= %(lowest)s::uuid AND a.answer IS NOT NULL
)
SELECT id FROM redacted
"""
_REMOVE: Final = """
WITH gone AS (
    DELETE FROM messages m
    WHERE m.id = ANY(%(ids)s) AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
        AND m.status NOT IN ('queued', 'scheduled')
        AND NOT EXISTS (SELECT FROM send_queue q WHERE q.message_id = m.id)
    RETURNING m.id
), gone_dead_letters AS (
    DELETE FROM dead_letters d USING gone g WHERE d.message_id = g.id
), gone_attempts AS (
    DELETE FROM attempts a USING gone g WHERE a.message_id = g.id AND a.id >= %(lowest)s::uuid
), gone_events AS (
    DELETE FROM events e USING gone g WHERE e.message_id = g.id AND e.id >= %(lowest)s::uuid
)
SELECT count(*) FROM gone
"""
_REMOVE_DEAD_LETTERS: Final = "DELETE FROM dead_letters WHERE message_id >= %s AND message_id < %s"
# A page of provider ids, without those whose message has gone; the last one that was looked at.
_REMOVE_REFS: Final = f"""
WITH page AS MATERIALIZED (
    SELECT connector_id, provider_message_id, message_id, created_at FROM provider_refs
    WHERE (connector_id, provider_message_id) > (%(connector_id)s::uuid,
        %(provider_message_id)s::text)
    ORDER BY connector_id, provider_message_id LIMIT {REFS_STEP}
), gone AS (
    DELETE FROM provider_refs r USING page p
    WHERE r.connector_id = p.connector_id AND r.provider_message_id = p.provider_message_id
        AND p.created_at < now() - interval '1 day'
        AND NOT EXISTS (SELECT FROM messages m WHERE m.id = p.message_id)
)
SELECT connector_id, provider_message_id FROM page
ORDER BY connector_id DESC, provider_message_id DESC LIMIT 1
"""


async def redact(connection: psycopg.AsyncConnection[Any], rows: Sequence[Redacted]) -> set[UUID]:
    """Return the messages that were redacted; others are being worked on again.

    In a transaction.
    """
    ids = [row.id for row in rows]
    await lock_messages(connection, ids)
    values = {"rows": orjson.dumps(rows).decode(), "lowest": min(ids), "highest": max(ids)}
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(_REDACT, values)
    return set(await cursor.fetchall())


async def remove(connection: psycopg.AsyncConnection[Any], ids: Sequence[UUID]) -> int:
    """Remove messages with their attempts, events and dead letters; return how many that were.

    In a transaction.
    """
    await lock_messages(connection, ids)
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(_REMOVE, {"ids": list(ids), "lowest": min(ids), "highest": max(ids)})
    return int(await cursor.fetchone() or 0)


async def remove_dead_letters(
    connection: psycopg.AsyncConnection[Any], low: UUID, high: UUID
) -> None:
    """Remove those whose messages went with their partition: `low` <= id < `high`."""
    await connection.execute(_REMOVE_DEAD_LETTERS, (low, high))


async def remove_refs(
    connection: psycopg.AsyncConnection[Any], after: ProviderRefKey
) -> ProviderRefKey | None:
    """Remove provider ids of messages that have gone; return where to go on, None at the end."""
    values = {
        "connector_id": after.connector_id,
        "provider_message_id": after.provider_message_id,
    }
    cursor = connection.cursor(row_factory=class_row(ProviderRefKey))
    await cursor.execute(_REMOVE_REFS, values)
    return await cursor.fetchone()
