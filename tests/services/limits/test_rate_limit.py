"""Messages in a key's window: exact under concurrency, sliding over the window's edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import pytest
import pytest_asyncio
import redis.asyncio

from backend.ids import new_id
from backend.services.limits.allowance import Allowance
from backend.services.limits.rate_limit import Demand, RateLimiter
from backend.settings import Settings

WINDOW_S: Final = 3600
# Rounding up to whole messages, and the time between our reading of the clock and the script's.
_SLACK: Final = 1


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(settings.require_redis_url())
    yield client
    await client.aclose()


@pytest.fixture
def limiter(client: redis.asyncio.Redis) -> RateLimiter:
    return make_limiter(client)


def make_limiter(
    client: redis.asyncio.Redis, *, window_s: int = WINDOW_S, sent: int = 0
) -> RateLimiter:
    """`sent`: what Postgres says a project has sent this month."""

    async def count_month(project_id: UUID, start: datetime) -> int:
        return sent

    fail_open = {"secret": True, "publishable": False}
    return RateLimiter(client, window_s=window_s, count_month=count_month, fail_open=fail_open)


def demand(key_id: UUID, limit: int) -> Demand:
    return Demand(key_id, limit, key_id, None)


async def _take(limiter: RateLimiter, key_id: UUID, limit: int, times: int = 1) -> list[Allowance]:
    answers = await asyncio.gather(*(limiter.take(demand(key_id, limit)) for _ in range(times)))
    return [answer for answer in answers if answer is not None]


def left(allowance: Allowance) -> int:
    return min(bucket.remaining for bucket in allowance.buckets)


async def _now(client: redis.asyncio.Redis) -> tuple[int, float]:
    """Return (number of the hour, fraction of it that has passed) by the server's clock."""
    seconds, micros = await client.time()
    return seconds // WINDOW_S, (seconds % WINDOW_S + micros / 1e6) / WINDOW_S


async def _away_from_the_edge(client: redis.asyncio.Redis) -> tuple[int, float]:
    """Like `_now`; within the last seconds of an hour, wait for the next one."""
    index, passed = await _now(client)
    if passed > 1 - 5 / WINDOW_S:
        await asyncio.sleep(5.1)
        index, passed = await _now(client)
    return index, passed


async def test_exactly_the_limit_gets_through_however_many_come_at_once(
    client: redis.asyncio.Redis, limiter: RateLimiter
) -> None:
    index, _ = await _away_from_the_edge(client)
    key_id = new_id()
    answers = await _take(limiter, key_id, 50, times=200)
    assert [answer.is_allowed for answer in answers] == [True] * 50 + [False] * 150
    assert [left(answer) for answer in answers] == [*range(49, -1, -1), *[0] * 150]
    # A refused message is not counted, or a client that keeps trying would never get through again.
    assert await client.get(f"rate:{key_id.hex}:{index}") == b"50"
    assert [answer.is_allowed for answer in await _take(limiter, key_id, 50)] == [False]


async def test_two_processes_share_one_limit(
    client: redis.asyncio.Redis, limiter: RateLimiter
) -> None:
    key_id = new_id()
    await _away_from_the_edge(client)
    other = make_limiter(client)
    answers = await asyncio.gather(
        _take(limiter, key_id, 30, times=25), _take(other, key_id, 30, times=25)
    )
    assert sum(answer.is_allowed for half in answers for answer in half) == 30


async def test_messages_in_sequence_count_down(
    client: redis.asyncio.Redis, limiter: RateLimiter
) -> None:
    key_id = new_id()
    await _away_from_the_edge(client)
    answers = [(await _take(limiter, key_id, 3))[0] for _ in range(5)]
    assert [(a.is_allowed, left(a)) for a in answers] == [
        (True, 2),
        (True, 1),
        (True, 0),
        (False, 0),
        (False, 0),
    ]


async def test_keys_do_not_count_against_each_other(
    client: redis.asyncio.Redis, limiter: RateLimiter
) -> None:
    full, free = new_id(), new_id()
    await _away_from_the_edge(client)
    await _take(limiter, full, 5, times=5)
    mixed = await asyncio.gather(
        *(limiter.take(demand(key_id, 5)) for key_id in (full, free, full, free)),
        limiter.take(demand(free, 5)),
    )
    assert [answer is not None and answer.is_allowed for answer in mixed] == [
        False,
        True,
        False,
        True,
        True,
    ]


async def test_last_hours_messages_count_by_the_part_that_still_overlaps(
    client: redis.asyncio.Redis, limiter: RateLimiter
) -> None:
    """80 in the last hour, limit 100: after a quarter of this hour, 60 of them still count."""
    index, passed = await _away_from_the_edge(client)
    key_id = new_id()
    await client.set(f"rate:{key_id.hex}:{index - 1}", 80, ex=60)
    answers = await _take(limiter, key_id, 100, times=200)
    allowed = sum(answer.is_allowed for answer in answers)
    assert abs(allowed - (100 - 80 * (1 - passed))) <= _SLACK


async def test_an_hour_filled_at_its_end_does_not_allow_twice_the_limit(
    client: redis.asyncio.Redis, limiter: RateLimiter
) -> None:
    """The weakness of fixed windows: a full hour, then another full hour right after its edge."""
    index, passed = await _away_from_the_edge(client)
    key_id = new_id()
    await client.set(f"rate:{key_id.hex}:{index - 1}", 1000, ex=60)
    answers = await _take(limiter, key_id, 1000, times=1000)
    assert abs(sum(answer.is_allowed for answer in answers) - 1000 * passed) <= _SLACK


async def test_what_is_two_hours_old_no_longer_counts(
    client: redis.asyncio.Redis, limiter: RateLimiter
) -> None:
    index, _ = await _away_from_the_edge(client)
    key_id = new_id()
    await client.set(f"rate:{key_id.hex}:{index - 2}", 1000, ex=60)
    assert [answer.is_allowed for answer in await _take(limiter, key_id, 5, times=6)] == [
        True
    ] * 5 + [False]


async def test_the_window_really_slides(client: redis.asyncio.Redis) -> None:
    """A window of one second, over its edge in real time."""
    limiter = make_limiter(client, window_s=1)
    key_id = new_id()

    async def allowed() -> int:
        return sum(answer.is_allowed for answer in await _take(limiter, key_id, 100, times=150))

    # Start just after an edge, so that the first two fall into one window.
    _, micros = await client.time()
    await asyncio.sleep(1.02 - micros / 1e6)
    assert await allowed() == 100
    assert await allowed() == 0
    _, micros = await client.time()
    await asyncio.sleep(1.5 - micros / 1e6)
    # Half of the next window has passed, so half of the hundred still counts. The machine may be
    # late by a quarter of a second, never early.
    assert 50 - _SLACK <= await allowed() <= 75
    await asyncio.sleep(2.1)
    assert await allowed() == 100


async def test_counters_expire(client: redis.asyncio.Redis, limiter: RateLimiter) -> None:
    index, _ = await _away_from_the_edge(client)
    key_id = new_id()
    await _take(limiter, key_id, 5)
    assert WINDOW_S < await client.ttl(f"rate:{key_id.hex}:{index}") <= 2 * WINDOW_S


async def test_a_lowered_limit_holds_at_once(
    client: redis.asyncio.Redis, limiter: RateLimiter
) -> None:
    key_id = new_id()
    await _away_from_the_edge(client)
    await _take(limiter, key_id, 100, times=50)
    (answer,) = await _take(limiter, key_id, 20)
    assert (answer.is_allowed, left(answer)) == (False, 0)


async def test_the_headers_say_how_much_is_left_and_when_it_resets(
    client: redis.asyncio.Redis, limiter: RateLimiter
) -> None:
    _, passed = await _away_from_the_edge(client)
    first, second = await _take(limiter, new_id(), 1, times=2)
    # What was sent in this window counts until the next one has passed.
    assert abs(first.buckets[0].reset_s - WINDOW_S * (2 - passed)) <= 2
    assert first.headers() == {
        "RateLimit-Policy": '"key";q=1;w=3600',
        "RateLimit": f'"key";r=0;t={first.buckets[0].reset_s}',
    }
    assert second.headers()["Retry-After"] == str(second.buckets[0].reset_s)


@pytest.mark.parametrize(("last", "now"), [(0, 5), (5, 0), (3, 2), (20, 0), (0, 20), (9, 4)])
async def test_who_waits_as_long_as_it_says_is_let_in(
    client: redis.asyncio.Redis, last: int, now: int
) -> None:
    window_s = 2
    key_id, limiter = new_id(), make_limiter(client, window_s=window_s)
    index = (await client.time())[0] // window_s
    await client.set(f"rate:{key_id.hex}:{index - 1}", last)
    await client.set(f"rate:{key_id.hex}:{index}", now)
    (answer,) = await _take(limiter, key_id, 5)
    while answer.is_allowed:
        (answer,) = await _take(limiter, key_id, 5)
    wait_s = answer.buckets[0].reset_s
    assert 1 <= wait_s <= 2 * window_s + 1
    await asyncio.sleep(wait_s)
    (answer,) = await _take(limiter, key_id, 5)
    assert answer.is_allowed


async def test_without_redis_nothing_is_counted_and_it_says_so() -> None:
    away = redis.asyncio.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)
    limiter = make_limiter(away)
    assert (
        await asyncio.gather(*(limiter.take(demand(new_id(), 5)) for _ in range(3))) == [None] * 3
    )
    await away.aclose()


async def _take_in_month(
    limiter: RateLimiter, project_id: UUID, quota: int, times: int
) -> list[Allowance]:
    """Each with its own key, so that only the project's month counts."""
    demands = [Demand(new_id(), 1000, project_id, quota) for _ in range(times)]
    answers = await asyncio.gather(*(limiter.take(demand) for demand in demands))
    return [answer for answer in answers if answer is not None]


async def test_a_projects_month_counts_over_all_its_keys(limiter: RateLimiter) -> None:
    project_id = new_id()
    answers = await _take_in_month(limiter, project_id, 20, times=30)
    assert [answer.is_allowed for answer in answers] == [True] * 20 + [False] * 10
    refused = answers[-1].refused_by
    assert refused is not None
    assert (refused.policy, refused.limit) == ("project", 20)
    headers = answers[0].headers()
    assert headers["RateLimit"].startswith('"key";r=999;t=')
    assert '"project";r=19;t=' in headers["RateLimit"]
    # A larger plan counts on from where the smaller one was full.
    assert [
        answer.is_allowed for answer in await _take_in_month(limiter, project_id, 25, times=6)
    ] == [True] * 5 + [False]


async def test_a_month_that_redis_lost_is_counted_from_the_database(
    client: redis.asyncio.Redis,
) -> None:
    limiter = make_limiter(client, sent=7)
    project_id = new_id()
    answers = await _take_in_month(limiter, project_id, 10, times=5)
    assert [answer.is_allowed for answer in answers] == [True, True, True, False, False]
    name = f"quota:{project_id.hex}:{datetime.now(UTC):%Y%m}"
    assert await client.get(name) == b"10"
    assert await client.ttl(name) > 28 * 24 * 3600


async def test_a_refused_month_does_not_use_up_the_hour_and_what_is_given_back_is_there_again(
    limiter: RateLimiter,
) -> None:
    key_id, project_id = new_id(), new_id()
    both = Demand(key_id, 100, project_id, 2)
    for _ in range(4):
        await limiter.take(both)
    await limiter.give_back(both)
    last = await limiter.take(both)
    assert last is not None
    assert last.is_allowed
    assert [bucket.remaining for bucket in last.buckets] == [97, 0]


async def test_looking_counts_nothing(limiter: RateLimiter) -> None:
    both = Demand(new_id(), 5, new_id(), 5)
    looks = [await limiter.look(both) for _ in range(3)]
    assert [bucket.remaining for look in looks if look is not None for bucket in look.buckets] == [
        5
    ] * 6


async def test_the_choice_for_when_redis_is_down_is_kept_by_kind(limiter: RateLimiter) -> None:
    assert (limiter.is_open("secret"), limiter.is_open("publishable")) == (True, False)
