"""Locks messages before a statement that prunes partitions changes them (decision 0016)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import psycopg

from backend.ledger.onward import id_range

_LOCK: Final = """
SELECT count(*) FROM (
    SELECT FROM messages
    WHERE id = ANY(%(ids)s) AND id >= %(lowest)s::uuid AND id <= %(highest)s::uuid ORDER BY id
        FOR UPDATE
) locked
"""


async def lock_messages(connection: psycopg.AsyncConnection[Any], ids: Iterable[UUID]) -> None:
    """Keep others from changing these messages until the transaction ends; the caller began one."""
    locked = list(ids)
    await connection.execute(_LOCK, {"ids": locked, **id_range(locked)})
