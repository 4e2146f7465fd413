"""Readiness: does this process accept sends? If not, what is wrong; if so, what to look at.

Checks write where sends would write: a server that only answers is not enough. An answer holds for
a second, so that a flood of questions costs nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import psycopg
import redis.asyncio
import redis.exceptions
import structlog

from backend.process.background import end_tasks
from backend.services.health.facts import DECIDING, WARNING, Check, check_secrets, check_write

if TYPE_CHECKING:
    from backend.models.session import RawPool
    from backend.services.health.heartbeat import Heartbeat

log = structlog.get_logger()

_TIMEOUT_S: Final = 1.0
_HOLDS_S: Final = 1.0
_KEY: Final = "messagejs:health"
_KEY_MS: Final = 5000
_NO_ANSWER: Final = f"No answer within {_TIMEOUT_S:g} s."
# The first type that matches counts.
_REDIS_PROBLEMS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (
        redis.exceptions.ReadOnlyError,
        "Redis is a read-only replica; point REDIS_URL at the primary.",
    ),
    (redis.exceptions.OutOfMemoryError, "Redis is full and refuses writes; raise its maxmemory."),
    (redis.exceptions.AuthenticationError, "Redis refuses the password; check REDIS_URL."),
    (redis.exceptions.ResponseError, "Redis answers but refuses to write; see its log."),
)


class ReadinessChecks:
    """Asks once for everyone who asks at the same time, and again after a second."""

    def __init__(
        self,
        pool: RawPool,
        client: redis.asyncio.Redis,
        heartbeat: Heartbeat,
        *,
        is_redis_needed: bool,
    ) -> None:
        """`is_redis_needed`: without Redis, sends are refused."""
        self._pool = pool
        self._redis = client
        self._heartbeat = heartbeat
        self._is_redis_needed = is_redis_needed
        self._asking: asyncio.Task[dict[str, Check]] | None = None
        self._answered_at = 0.0

    async def checks(self) -> dict[str, Check]:
        """Return every check by name, within about two seconds, whatever is unreachable."""
        if self._asking is None or (
            self._asking.done() and time.monotonic() - self._answered_at > _HOLDS_S
        ):
            self._asking = asyncio.create_task(self._ask(), name="health")
        # Shielded: a caller that gives up must not cancel the answer that others wait for.
        return await asyncio.shield(self._asking)

    async def aclose(self) -> None:
        """End a question that nobody waits for any more."""
        if self._asking is not None:
            await end_tasks([self._asking])

    async def _ask(self) -> dict[str, Check]:
        try:
            in_database, in_redis = await asyncio.gather(
                _of_database(self._pool, self._heartbeat),
                check_redis(self._redis, is_needed=self._is_redis_needed),
            )
        finally:
            self._answered_at = time.monotonic()
        return {"database": in_database.pop("database"), "redis": in_redis, **in_database}


def is_ready(checks: dict[str, Check]) -> bool:
    """Tell whether sends are accepted. Warnings are for people, not for load balancers."""
    return all(check.status != "failed" for check in checks.values())


async def check_redis(client: redis.asyncio.Redis, *, is_needed: bool) -> Check:
    """Write to Redis.

    Without it messages are accepted and wait; with `is_needed` they are refused.
    """
    problem = await _problem_of_redis(client)
    if problem is None:
        return Check("ok", "Redis takes writes.")
    if is_needed:
        return Check(
            "failed", f"{problem} Sends are refused without it (RATE_LIMIT_FAIL_OPEN_SECRET=false)."
        )
    return Check(
        "warning", f"{problem} Messages are accepted, and wait until it takes writes again."
    )


async def _problem_of_redis(client: redis.asyncio.Redis) -> str | None:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await cast(Awaitable[Any], client.set(_KEY, "1", px=_KEY_MS))
    except TimeoutError:
        return f"Redis: no answer within {_TIMEOUT_S:g} s."
    except Exception as exc:  # noqa: BLE001 (whatever fails is the finding)
        log.info("health.check_failed", check="redis", error=type(exc).__name__)
        for kind, problem in _REDIS_PROBLEMS:
            if isinstance(exc, kind):
                return problem
        return f"Redis: no answer ({type(exc).__name__})."
    return None


async def _of_database(pool: RawPool, heartbeat: Heartbeat) -> dict[str, Check]:
    """Use one connection for all checks: a process is asked every second."""
    checks: dict[str, Check] = {}
    problem = _NO_ANSWER
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            try:
                await _ask_all(pool, heartbeat, checks)
            except psycopg.OperationalError:  # perhaps a connection from before Postgres restarted
                checks.clear()
                await _ask_all(pool, heartbeat, checks)
    except TimeoutError:
        pass
    except Exception as exc:  # noqa: BLE001 (whatever fails is the finding)
        log.info("health.check_failed", check="database", error=type(exc).__name__)
        problem = f"No answer ({type(exc).__name__})."
    if "database" not in checks:
        checks |= {"database": Check("failed", problem)} | {
            name: Check("failed", problem) for name in (*DECIDING, "secrets") if name not in checks
        }
    unanswered = {name: Check("warning", problem) for name in WARNING if name not in checks}
    return checks | unanswered


async def _ask_all(pool: RawPool, heartbeat: Heartbeat, checks: dict[str, Check]) -> None:
    async with pool.connection(_TIMEOUT_S) as connection:
        for name, ask in DECIDING.items():
            checks[name] = await _answer(ask(connection), name, "failed")
        checks["secrets"] = await _answer(
            check_secrets(connection, heartbeat.fingerprints), "secrets", "failed"
        )
        if checks["migrations"].status == "ok":
            checks["database"] = await check_write(heartbeat.beat(connection))
        else:
            checks["database"] = Check("ok", "Postgres answers.")
        for name, ask in WARNING.items():
            checks[name] = await _answer(ask(connection), name, "warning")


async def _answer(
    asking: Awaitable[Check], name: str, otherwise: Literal["warning", "failed"]
) -> Check:
    """A check that fails (its table is missing, say) must not keep the others from being asked."""
    try:
        return await asking
    except psycopg.OperationalError:
        raise
    except Exception as exc:  # noqa: BLE001 (whatever fails is the finding)
        log.info("health.check_failed", check=name, error=type(exc).__name__)
        return Check(otherwise, f"No answer ({type(exc).__name__}).")
