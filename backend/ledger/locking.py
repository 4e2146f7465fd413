"""Lock rows before a statement that prunes partitions changes them (decision 0016).

Postgres 18 sets up a statement's partition pruning twice where a row changes under it, and its
backend crashes. So rows are locked by a statement of their own, in the same transaction: queue rows
before messages, each in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

# Counted in the database: the rows are of no use here.
LOCK_QUEUE: Final = """
SELECT count(*) FROM (
    SELECT FROM send_queue WHERE message_id = ANY(%s) ORDER BY message_id FOR UPDATE
) locked
"""
_LOCK_QUEUE_STATES: Final = """
SELECT message_id, state FROM send_queue WHERE message_id = ANY(%s) ORDER BY message_id FOR UPDATE
"""
_LOCK_MESSAGES: Final = """
SELECT count(*) FROM (
    SELECT FROM messages
    WHERE id = ANY(%(ids)s) AND id >= %(lowest)s::uuid AND id <= %(highest)s::uuid
    ORDER BY id FOR UPDATE
) locked
"""


@dataclass(frozen=True, slots=True)
class _Queued:
    message_id: UUID
    state: int


async def lock_messages(connection: psycopg.AsyncConnection[Any], ids: Iterable[UUID]) -> None:
    """Keep others from changing these messages until the transaction ends; the caller began one."""
    locked = list(ids)
    await connection.execute(_LOCK_MESSAGES, {"ids": locked, **id_range(locked)})


async def lock_queue_rows(
    connection: psycopg.AsyncConnection[Any], ids: Iterable[UUID]
) -> dict[UUID, int]:
    """Lock these messages' queue rows; return the state of each that there is."""
    cursor = connection.cursor(row_factory=class_row(_Queued))
    await cursor.execute(_LOCK_QUEUE_STATES, (list(ids),), prepare=True)
    return {row.message_id: row.state for row in await cursor.fetchall()}


def id_range(message_ids: Iterable[UUID]) -> dict[str, UUID]:
    """Return the parameters that keep a statement to the partitions of these messages."""
    ids = list(message_ids)
    return {"lowest": min(ids), "highest": max(ids)}
