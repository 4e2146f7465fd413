"""Tokens of a pace, counted by Redis' clock alone: a busy machine changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from backend.dispatch.pacing import Pace, Pacer, Permit
from backend.ids import new_id
from backend.queueing import MESSAGES, WorkQueue
from tests.dispatch.queues import PARCELS
from tests.providers.fakes import refused_port

BURST_S: Final = 0.1


async def _now_s(client: redis.asyncio.Redis) -> float:
    seconds, microseconds = await client.time()
    return float(seconds) + float(microseconds) / 1_000_000


async def _ask(pacer: Pacer, owner_id: UUID, pace: Pace, count: int) -> Permit:
    turn = (1, owner_id)
    return (await pacer.ask({turn: count}, {owner_id: pace}))[turn]


async def test_owners_of_one_key_get_its_rate_together_and_not_less(
    client: redis.asyncio.Redis, pacer: Pacer
) -> None:
    """Two owners ask in turn; what they get in all is what passed by Redis' clock is worth."""
    rate, owners = 200.0, [new_id(), new_id()]
    pace = Pace("shared", rate)
    began_s = await _now_s(client)
    last_s = began_s
    permitted = (await _ask(pacer, owners[0], pace, 1000)).count
    assert permitted == 21  # one, and a tenth of a second's
    for number in range(1, 200):
        before_s = await _now_s(client)
        count = (await _ask(pacer, owners[number % 2], pace, 1000)).count
        after_s = await _now_s(client)
        permitted += count
        # Not more than the time is worth since the first, nor less than since the last time.
        assert permitted <= 1 + rate * (BURST_S + after_s - began_s)
        assert count >= min(int(rate * (before_s - last_s)) - 1, int(rate * BURST_S))
        last_s = after_s


async def test_another_key_is_another_pace(pacer: Pacer) -> None:
    owner_id = new_id()
    assert (await _ask(pacer, owner_id, Pace("first", 0.001), 5)).count == 1
    assert (await _ask(pacer, owner_id, Pace("first", 0.001), 5)).count == 0
    assert (await _ask(pacer, owner_id, Pace("second", 0.001), 5)).count == 1


async def test_what_is_given_back_is_permitted_again(pacer: Pacer) -> None:
    # So slow that nothing comes back by itself while the test runs.
    owner_id, pace = new_id(), Pace("slow", 0.001)
    assert (await _ask(pacer, owner_id, pace, 3)).count == 1
    assert (await _ask(pacer, owner_id, pace, 3)).count == 0
    await pacer.give_back({owner_id: 1}, {owner_id: pace})
    assert (await _ask(pacer, owner_id, pace, 3)).count == 1


async def test_a_rate_that_is_raised_counts_at_once(
    client: redis.asyncio.Redis, pacer: Pacer
) -> None:
    owner_id = new_id()
    assert (await _ask(pacer, owner_id, Pace("key", 0.001), 5)).count == 1
    assert (await _ask(pacer, owner_id, Pace("key", 0.001), 5)).count == 0
    # The debt of a thousand seconds is not carried over: full again after a tenth of a second.
    fast = Pace("key", 1000.0)
    until_s = await _now_s(client) + 2 * BURST_S
    permitted = (await _ask(pacer, owner_id, fast, 500)).count
    while await _now_s(client) < until_s:
        permitted += (await _ask(pacer, owner_id, fast, 500)).count
    assert permitted >= 100


@pytest.mark.parametrize("queue", [MESSAGES, PARCELS])
async def test_an_owner_without_tokens_is_on_hold_for_all_workers_of_its_queue(
    client: redis.asyncio.Redis, queue: WorkQueue
) -> None:
    pacer, owner_id, pace = Pacer(client, queue), new_id(), Pace("key", 0.5)
    assert (await _ask(pacer, owner_id, pace, 1)).count == 1
    permit = await _ask(pacer, owner_id, pace, 1)
    assert permit.count == 0
    assert 0 < await client.pttl(queue.hold(owner_id)) <= permit.wait_ms <= 2000
    assert await client.keys("*hold:*") == [queue.hold(owner_id).encode()]


async def test_things_of_one_recipient_get_places_behind_each_other(pacer: Pacer) -> None:
    slow, free = Pace("carrier:door", 0.01), Pace("carrier:gate", 0.01)
    first, second, third, elsewhere = (new_id() for _ in range(4))
    delays_s = await pacer.delays_s(
        [(first, slow), (second, slow), (third, slow), (elsewhere, free)]
    )
    # A hundred seconds each; the first of a recipient goes now.
    assert set(delays_s) == {second, third}
    assert 99 < delays_s[second] <= 100
    assert 199 < delays_s[third] <= 200


async def test_without_a_pace_redis_is_not_asked() -> None:
    client = redis.asyncio.Redis(port=refused_port(), retry=Retry(NoBackoff(), 0))
    pacer = Pacer(client)
    assert await pacer.ask({(1, new_id()): 100}, {}) == {}
    assert await pacer.delays_s([]) == {}
    await client.aclose()


async def test_without_redis_a_paced_owner_gets_a_burst() -> None:
    client = redis.asyncio.Redis(port=refused_port(), retry=Retry(NoBackoff(), 0))
    pacer, owner_id, pace = Pacer(client), new_id(), Pace("key", 35.0)
    paces: Mapping[UUID, Pace] = {owner_id: pace}
    assert (await _ask(pacer, owner_id, pace, 100)).count == 4
    await pacer.give_back({owner_id: 1}, paces)
    assert await pacer.delays_s([(new_id(), pace)]) == {}
    await client.aclose()
