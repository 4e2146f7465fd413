"""Tries in fixed windows: counted together, refused by the first full one, free without Redis."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from backend.errors import RateLimitExceeded
from backend.ids import new_id
from backend.platform import Platform
from backend.services.limits.allowance import NOTHING_COUNTED
from backend.services.limits.fixed_windows import FixedWindow, count_tries


def windows(*limits: int) -> list[FixedWindow]:
    return [FixedWindow(f"limit:test:{new_id()}", limit, 60, f"p{limit}") for limit in limits]


async def test_several_windows_share_one_answer_and_its_headers(platform: Platform) -> None:
    allowance = await count_tries(platform.redis, *windows(5, 2))
    assert [(bucket.limit, bucket.remaining) for bucket in allowance.buckets] == [(5, 4), (2, 1)]
    assert allowance.headers()["RateLimit-Policy"] == '"p5";q=5;w=60, "p2";q=2;w=60'
    assert allowance.is_allowed


async def test_a_full_window_refuses_and_says_when_it_ends(platform: Platform) -> None:
    wide, narrow = windows(5, 2)
    for _ in range(2):
        (await count_tries(platform.redis, wide, narrow)).require("Too many tries")
    allowance = await count_tries(platform.redis, wide, narrow)
    assert allowance.refused_by is not None
    assert (allowance.refused_by.limit, allowance.refused_by.remaining) == (2, 0)
    with pytest.raises(RateLimitExceeded, match="Too many tries; try again in") as caught:
        allowance.require("Too many tries")
    assert 0 < int(caught.value.headers["Retry-After"]) <= 60


async def test_a_window_ends_by_itself_however_many_tries_come(platform: Platform) -> None:
    (window,) = windows(1)
    for _ in range(3):
        await count_tries(platform.redis, window)
    assert 0 < await platform.redis.ttl(window.name) <= 60


async def test_without_redis_nothing_is_counted_and_nobody_waits_long() -> None:
    away = redis.asyncio.Redis(host="127.0.0.1", port=1)
    async with asyncio.timeout(30):
        assert await count_tries(away, *windows(1)) == NOTHING_COUNTED
