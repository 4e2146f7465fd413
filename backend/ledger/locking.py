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

# How queue rows, and messages, are locked: the ends of a SELECT, of %(ids)s (and `id_range`).
QUEUE_ROWS: Final = "WHERE message_id = ANY(%(ids)s) ORDER BY message_id FOR UPDATE"
MESSAGES: Final = """
    WHERE id = ANY(%(ids)s) AND id >= %(lowest)s::uuid AND id <= %(highest)s::uuid
    ORDER BY id FOR UPDATE"""

# Counted in the database, so that the rows need not travel.
_LOCK_QUEUE: Final = f"SELECT count(*) FROM (SELECT FROM send_queue {QUEUE_ROWS}) locked"
_LOCK_STATES: Final = f"SELECT message_id, state FROM send_queue {QUEUE_ROWS}"
_LOCK_MESSAGES: Final = f"SELECT count(*) FROM (SELECT FROM messages {MESSAGES}) locked"


@dataclass(frozen=True, slots=True)
class _Queued:
    message_id: UUID
    state: int


async def lock_messages(connection: psycopg.AsyncConnection[Any], ids: Iterable[UUID]) -> None:
    """Keep others from changing these messages until the transaction ends; the caller began one."""
    locked = list(ids)
    await connection.execute(_LOCK_MESSAGES, {"ids": locked, **id_range(locked)})


async def lock_queue_rows(connection: psycopg.AsyncConnection[Any], ids: Iterable[UUID]) -> None:
    """Lock these messages' queue rows until the transaction ends; some may have none.

    Reads nothing back, so that a pipeline can go on with the next statement.
    """
    await connection.execute(_LOCK_QUEUE, {"ids": list(ids)}, prepare=True)


async def lock_queue_states(
    connection: psycopg.AsyncConnection[Any], ids: Iterable[UUID]
) -> dict[UUID, int]:
    """Lock these messages' queue rows; return the state of each that there is."""
    cursor = connection.cursor(row_factory=class_row(_Queued))
    await cursor.execute(_LOCK_STATES, {"ids": list(ids)}, prepare=True)
    return {row.message_id: row.state for row in await cursor.fetchall()}


def id_range(message_ids: Iterable[UUID]) -> dict[str, UUID]:
    """Return the parameters that keep a statement to the partitions of these messages."""
    ids = list(message_ids)
    return {"lowest": min(ids), "highest": max(ids)}
