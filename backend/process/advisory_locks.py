"""Advisory locks: what only one process of an installation does at a time.

Every number stands in this enum, so that two uses cannot share one. A lock of a session is held
until it is released or its connection ends; a lock of a transaction ends with the transaction.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum, unique
from typing import Any, Final, LiteralString

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection


@unique
class AdvisoryLock(IntEnum):
    """The numbers are kept for good: processes of the last version run beside this one's."""

    MIGRATION = 7_262_001
    SWEEP = 7_262_002
    ROLLUPS = 7_262_003
    FIRST_USER = 7_262_004
    RETENTION = 7_262_013
    # With the place of the task in its list, a lock of two numbers.
    MAINTENANCE = 7_262_017


_TRY: Final = "SELECT pg_try_advisory_lock(%s)"
_TRY_AT: Final = "SELECT pg_try_advisory_lock(%s, %s)"
_TRY_IN_TRANSACTION: Final = "SELECT pg_try_advisory_xact_lock(%s)"
_WAIT: Final = "SELECT pg_advisory_lock(%s)"
_RELEASE: Final = "SELECT pg_advisory_unlock(%s)"
_RELEASE_AT: Final = "SELECT pg_advisory_unlock(%s, %s)"

_ORM_TRY: Final = text("SELECT pg_try_advisory_lock(:lock)")
_ORM_WAIT_IN_TRANSACTION: Final = text("SELECT pg_advisory_xact_lock(:lock)")
_ORM_RELEASE: Final = text("SELECT pg_advisory_unlock(:lock)")


@asynccontextmanager
async def try_hold(
    connection: psycopg.AsyncConnection[Any], lock: AdvisoryLock, place: int | None = None
) -> AsyncIterator[bool]:
    """Hold a lock of the session within the block; gives False when another session holds it.

    `place` tells apart what shares a number.
    """
    numbers = (int(lock),) if place is None else (int(lock), place)
    is_ours = await _is_true(connection, _TRY if place is None else _TRY_AT, numbers)
    try:
        yield is_ours
    finally:
        if is_ours:
            await connection.execute(_RELEASE if place is None else _RELEASE_AT, numbers)


@asynccontextmanager
async def hold(connection: psycopg.AsyncConnection[Any], lock: AdvisoryLock) -> AsyncIterator[None]:
    """Wait for a lock of the session, and hold it within the block."""
    await connection.execute(_WAIT, (int(lock),))
    try:
        yield
    finally:
        await connection.execute(_RELEASE, (int(lock),))


async def try_lock(connection: psycopg.AsyncConnection[Any], lock: AdvisoryLock) -> bool:
    """Take a lock until the transaction ends; returns False when another one holds it."""
    return await _is_true(connection, _TRY_IN_TRANSACTION, (int(lock),))


async def wait_for_lock(connection: AsyncConnection, lock: AdvisoryLock) -> None:
    """Wait for a lock, and keep it until SQLAlchemy's transaction ends."""
    await connection.execute(_ORM_WAIT_IN_TRANSACTION, {"lock": int(lock)})


def try_lock_session(connection: Connection, lock: AdvisoryLock) -> bool:
    """Take a lock of the session of a synchronous connection; False: another session holds it."""
    return bool(connection.execute(_ORM_TRY, {"lock": int(lock)}).scalar_one())


def unlock_session(connection: Connection, lock: AdvisoryLock) -> None:
    connection.execute(_ORM_RELEASE, {"lock": int(lock)})


async def _is_true(
    connection: psycopg.AsyncConnection[Any], query: LiteralString, numbers: tuple[int, ...]
) -> bool:
    row = await (await connection.execute(query, numbers)).fetchone()
    return row is not None and bool(row[0])
