"""Tries in fixed windows, counted in Redis.

Without Redis nothing is counted and everything is let through: a log-in still needs its password,
and the dashboard is where an operator sees that Redis is down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import redis
import redis.asyncio
import structlog

from backend.services.limits.allowance import NOTHING_COUNTED, Allowance, Bucket

log = structlog.get_logger()

_REDIS_PATIENCE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class FixedWindow:
    """At most `limit` tries under `name`, a key in Redis, in windows that begin with a try.

    `policy` is its name in the headers, for limits that have them.
    """

    name: str
    limit: int
    window_s: int
    policy: str = ""


async def count_tries(client: redis.asyncio.Redis, *windows: FixedWindow) -> Allowance:
    """Count one try in each window, in one round trip; the first that is exceeded refuses it."""
    answers: list[Any] = []
    async with redis_or_nothing():
        pipe = client.pipeline(transaction=True)
        for window in windows:
            pipe.incr(window.name)
            pipe.expire(window.name, window.window_s, nx=True)
            pipe.ttl(window.name)
        answers = await pipe.execute()
    if not answers:
        return NOTHING_COUNTED
    buckets: list[Bucket] = []
    exceeded: list[Bucket] = []
    for window, used, ttl_s in zip(windows, answers[::3], answers[2::3], strict=True):
        remaining = max(0, window.limit - used)
        reset_s = max(1, ttl_s)
        bucket = Bucket(window.policy, window.limit, remaining, reset_s, window.window_s)
        buckets.append(bucket)
        if used > window.limit:
            exceeded.append(bucket)
    return Allowance(tuple(buckets), exceeded[0] if exceeded else None)


@asynccontextmanager
async def redis_or_nothing() -> AsyncIterator[None]:
    """Let the body end early, with a warning, where Redis does not answer in time."""
    try:
        # The client itself would retry for seconds; a person is waiting for the answer.
        async with asyncio.timeout(_REDIS_PATIENCE_S):
            yield
    except (redis.RedisError, OSError, TimeoutError) as exc:
        log.warning("limits.unreachable", error=type(exc).__name__)
