"""Idempotency-Keys: the first request takes a key, later ones find what it was answered.

Messages take theirs in the statement that writes them (accept_statements.py), others here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

# A key whose time is over belongs to the next request.
TAKE_OVER: Final = """
    ON CONFLICT (project_id, route, key) DO UPDATE
        SET request_hash = excluded.request_hash, message_id = excluded.message_id,
            expires_at = excluded.expires_at
        WHERE i.expires_at <= now()
"""
_TAKE: Final = f"""
INSERT INTO idempotency_records AS i (project_id, route, key, request_hash, message_id, expires_at)
VALUES (%(project)s, %(route)s, %(key)s, %(hash)s, %(owner)s,
    now() + make_interval(secs => %(ttl_s)s))
{TAKE_OVER}
RETURNING message_id, request_hash
"""
_FIND: Final = """
SELECT message_id, request_hash FROM idempotency_records
WHERE project_id = %(project)s AND route = %(route)s AND key = %(key)s
"""
_FIND_OPEN: Final = f"{_FIND} AND expires_at > now()"


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """`request_hash` tells a repeat of the request from another request under the same key."""

    route: str
    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """What an earlier request under a key made (`message_id`, whatever it is), and its hash."""

    message_id: UUID
    request_hash: bytes


async def find_key(
    connection: psycopg.AsyncConnection[Any], project_id: UUID, key: IdempotencyKey
) -> Taken | None:
    """Return an earlier use of the key that still counts."""
    names = {"project": project_id, "route": key.route, "key": key.key}
    return await _first(connection, _FIND_OPEN, names)


async def take_key(
    connection: psycopg.AsyncConnection[Any],
    project_id: UUID,
    key: IdempotencyKey,
    *,
    owner: UUID,
    ttl_s: int,
) -> Taken | None:
    """Return an earlier use of the key; None: it is taken for `owner` now."""
    names = {"project": project_id, "route": key.route, "key": key.key}
    values = {**names, "hash": key.request_hash, "owner": owner, "ttl_s": ttl_s}
    if await _first(connection, _TAKE, values) is not None:
        return None
    return await _first(connection, _FIND, names)


async def _first(
    connection: psycopg.AsyncConnection[Any], statement: str, values: dict[str, Any]
) -> Taken | None:
    cursor = connection.cursor(row_factory=class_row(Taken))
    await cursor.execute(statement, values)
    return await cursor.fetchone()
