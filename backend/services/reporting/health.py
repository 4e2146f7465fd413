"""Readiness: whether this process can do its work, and what is wrong when it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, cast

import redis.exceptions
import structlog
from psycopg import sql

from backend.models.migrate import head_revision
from backend.models.partitions import PARTITIONED

if TYPE_CHECKING:
    from backend.services.platform import Platform

log = structlog.get_logger()

_CHECK_TIMEOUT_S: Final = 1.0
_head_revision = lru_cache(maxsize=1)(head_revision)


@dataclass(frozen=True, slots=True)
class Check:
    """`detail` says what to do; it is public, so it names no host and no secret."""

    status: Literal["ok", "warning", "failed"]
    detail: str


async def readiness(platform: Platform) -> dict[str, Check]:
    """Run all checks at the same time; each answers within a second."""
    checks: dict[str, Callable[[Platform], Awaitable[Check]]] = {
        "database": _database,
        "redis": _redis,
        "migrations": _migrations,
        "partitions": _partitions,
    }
    results = await asyncio.gather(*(_within_time(name, check(platform)) for name, check in checks.items()))
    return dict(zip(checks, results, strict=True))


def is_ready(checks: dict[str, Check]) -> bool:
    return all(check.status != "failed" for check in checks.values())


async def _within_time(name: str, check: Awaitable[Check]) -> Check:
    try:
        return await asyncio.wait_for(check, _CHECK_TIMEOUT_S)
    except TimeoutError:
        return Check("failed", f"No answer within {_CHECK_TIMEOUT_S:g} s.")
    except Exception as exc:  # noqa: BLE001 (whatever fails is the finding)
        log.info("health.check_failed", check=name, error=type(exc).__name__)
        return Check("failed", f"No answer ({type(exc).__name__}).")


async def _database(platform: Platform) -> Check:
    async with platform.database.raw.connection() as connection:
        await connection.execute("SELECT 1")
    return Check("ok", "Postgres answers.")


async def _redis(platform: Platform) -> Check:
    try:
        await cast(Awaitable[bool], platform.redis.ping())  # typed for both of its clients
    except redis.exceptions.AuthenticationError:
        return Check("failed", "Redis refuses the password; check REDIS_URL.")
    return Check("ok", "Redis answers.")


async def _migrations(platform: Platform) -> Check:
    head = await asyncio.to_thread(_head_revision)
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
        has_version = await cursor.fetchone()
        current = None
        if has_version is not None and has_version[0]:
            row = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchone()
            current = row[0] if row is not None else None
    if current != head:
        return Check("failed", f"The schema is at '{current}', this version needs '{head}'; run 'messagejs migrate'.")
    return Check("ok", f"The schema is at '{head}'.")


async def _partitions(platform: Platform) -> Check:
    """Rows in a DEFAULT partition are safe, but keep their month's partition from being made."""
    filled = []
    async with platform.database.raw.connection() as connection:
        for table in PARTITIONED:
            query = sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(sql.Identifier(f"{table}_default"))
            row = await (await connection.execute(query)).fetchone()
            if row is not None and row[0]:
                filled.append(table)
    if filled:
        return Check("warning", f"Rows in the default partition of {', '.join(filled)}; see the maintenance job's log.")
    return Check("ok", "The default partitions are empty.")
