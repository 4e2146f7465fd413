"""Tries in fixed windows, counted in Redis.

Without Redis nothing is counted and everything is let through: a log-in still needs its password,
and the dashboard is where an operator sees that Redis is down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import redis
import redis.asyncio
import structlog

from backend.services.limits.allowance import NOTHING_COUNTED, Allowance, Bucket

log = structlog.get_logger()

_REDIS_PATIENCE_S: Final = 0.5


async def count_tries(
    client: redis.asyncio.Redis, limits: Mapping[str, int], *, window_s: int, policy: str = ""
) -> Allowance:
    """Count one try against each name's limit, in one round trip.

    `policy` names them in the headers, where they have any. Of several limits that are exceeded,
    the first one refuses.
    """
    answers: list[Any] = []
    async with redis_or_nothing():
        pipe = client.pipeline(transaction=True)
        for name in limits:
            pipe.incr(name)
            pipe.expire(name, window_s, nx=True)
            pipe.ttl(name)
        answers = await pipe.execute()
    if not answers:
        return NOTHING_COUNTED
    buckets: list[Bucket] = []
    exceeded: list[Bucket] = []
    for limit, used, ttl_s in zip(limits.values(), answers[::3], answers[2::3], strict=True):
        bucket = Bucket(policy, limit, max(0, limit - used), max(1, ttl_s), window_s)
        buckets.append(bucket)
        if used > limit:
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
