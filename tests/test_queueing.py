"""The doorbell and the ready set: one job for many rings, high lane first, holds respected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis.asyncio
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from rq.utils import import_attribute

from backend.ids import new_id
from backend.models.send_queue import LANES
from backend.queueing import DRAIN_JOB, LANE_COUNT, QUEUE, Doorbell, ReadySet, Turn
from backend.settings import Settings


@pytest.fixture
def redis_url(settings: Settings) -> str:
    """A database of its own, empty: the ready set and the bell belong to all tests."""
    url = settings.require_redis_url().replace("db=0", "db=7")
    assert url.endswith("db=7")
    connection = Redis.from_url(url)
    connection.flushdb()
    connection.close()
    return url


@pytest_asyncio.fixture
async def client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def doorbell(client: redis.asyncio.Redis, redis_url: str) -> AsyncIterator[Doorbell]:
    doorbell = Doorbell(client, redis_url)
    yield doorbell
    await doorbell.drain()
    doorbell.close()


@pytest.fixture
def ready(client: redis.asyncio.Redis) -> ReadySet:
    return ReadySet(client)


async def _ring(doorbell: Doorbell, *turns: Turn, delay_ms: int = 0) -> None:
    doorbell.ring(turns, delay_ms=delay_ms)
    await doorbell.drain()


def _jobs(redis_url: str) -> int:
    connection = Redis.from_url(redis_url)
    try:
        return Queue(QUEUE, connection=connection).count
    finally:
        connection.close()


# -- the ready set ---------------------------------------------------------------------------------


async def test_a_connector_that_was_rung_for_has_one_turn(
    doorbell: Doorbell, ready: ReadySet
) -> None:
    first, second = new_id(), new_id()
    await _ring(doorbell, (1, first), (1, second), (1, first))
    assert set((await ready.pop(10)).turns) == {(1, first), (1, second)}
    assert (await ready.pop(10)).turns == []


async def test_the_high_lane_goes_first_and_first_come_is_first_served(
    doorbell: Doorbell, ready: ReadySet
) -> None:
    bulk, first, second, high = (new_id() for _ in range(4))
    for turn in ((2, bulk), (1, first), (1, second), (0, high)):
        await _ring(doorbell, turn)
        await asyncio.sleep(0.002)  # scores are whole milliseconds
    assert (await ready.pop(3)).turns == [(0, high), (1, first), (1, second)]
    assert (await ready.pop(3)).turns == [(2, bulk)]


async def test_a_backlog_in_the_high_lane_leaves_the_others_their_turns(
    doorbell: Doorbell, ready: ReadySet
) -> None:
    normal, bulk = new_id(), new_id()
    await _ring(doorbell, *((0, new_id()) for _ in range(100)), (1, normal), (2, bulk))
    turns = (await ready.pop(32)).turns
    # What the two leave of their quarter and their eighth goes back to high.
    assert [lane for lane, _ in turns] == [0] * 30 + [1, 2]
    assert turns[30:] == [(1, normal), (2, bulk)]


async def test_each_lane_has_its_share_of_the_turns(doorbell: Doorbell, ready: ReadySet) -> None:
    await _ring(doorbell, *((lane, new_id()) for lane in range(LANE_COUNT) for _ in range(40)))
    lanes = [lane for lane, _ in (await ready.pop(32)).turns]
    assert [lanes.count(lane) for lane in range(LANE_COUNT)] == [20, 8, 4]


@pytest.mark.parametrize("most", [1, 2, 3, 5])
async def test_few_turns_at_a_time_reach_every_lane(
    doorbell: Doorbell, ready: ReadySet, most: int
) -> None:
    await _ring(doorbell, *((lane, new_id()) for lane in range(LANE_COUNT) for _ in range(50)))
    pops = [[lane for lane, _ in (await ready.pop(most)).turns] for _ in range(8)]
    assert pops[0][0] == 0
    assert any(1 in lanes for lanes in pops[:4])
    assert any(2 in lanes for lanes in pops)
    assert sum(lanes.count(0) for lanes in pops) >= 4 * most


async def test_one_connector_may_wait_in_every_lane(doorbell: Doorbell, ready: ReadySet) -> None:
    connector = new_id()
    await _ring(doorbell, *((lane, connector) for lane in range(LANE_COUNT)))
    assert (await ready.pop(10)).turns == [(lane, connector) for lane in range(LANE_COUNT)]


async def test_a_delayed_ring_waits_its_time(doorbell: Doorbell, ready: ReadySet) -> None:
    connector = new_id()
    await _ring(doorbell, (1, connector), delay_ms=150)
    assert (await ready.pop(10)).turns == []
    await asyncio.sleep(0.2)
    assert (await ready.pop(10)).turns == [(1, connector)]


async def test_each_of_a_connectors_delays_ends_with_a_ring(
    doorbell: Doorbell, ready: ReadySet
) -> None:
    """Two retries due at different times are two turns, whichever worker took the first."""
    connector = new_id()
    doorbell.ring([(1, connector)], delay_ms=50)
    doorbell.ring([(1, connector)], delay_ms=250)
    for _ in range(2):
        assert (await ready.pop(10)).turns == []
        await asyncio.sleep(0.15)
        await doorbell.drain()
        assert (await ready.pop(10)).turns == [(1, connector)]


async def test_a_connector_with_an_open_circuit_gets_one_probe(
    client: redis.asyncio.Redis, doorbell: Doorbell, ready: ReadySet
) -> None:
    connector, other = new_id(), new_id()
    await client.set(f"circuit:{connector.hex}", "5000")
    await _ring(doorbell, (0, connector), (1, connector), (1, other))
    assert await ready.pop(10) == ([(0, connector), (1, other)], frozenset({connector}))
    await _ring(doorbell, (0, connector))
    assert await ready.pop(10) == ([], frozenset())


async def test_the_earliest_ring_counts(doorbell: Doorbell, ready: ReadySet) -> None:
    """A retry due in a minute must not hide a message due now, in whichever order they ring."""
    later_first, now_first = new_id(), new_id()
    await _ring(doorbell, (1, later_first), delay_ms=60_000)
    await _ring(doorbell, (1, later_first))
    await _ring(doorbell, (1, now_first))
    await _ring(doorbell, (1, now_first), delay_ms=60_000)
    assert set((await ready.pop(10)).turns) == {(1, later_first), (1, now_first)}


async def test_rings_that_wait_together_keep_the_earliest_too(
    doorbell: Doorbell, ready: ReadySet
) -> None:
    connector = new_id()
    doorbell.ring([(1, connector)], delay_ms=60_000)
    doorbell.ring([(1, connector)], delay_ms=0)
    doorbell.ring([(1, connector)], delay_ms=30_000)
    await doorbell.drain()
    assert (await ready.pop(10)).turns == [(1, connector)]


# -- holds -----------------------------------------------------------------------------------------


async def test_a_held_connector_is_passed_over_until_its_hold_ends(
    doorbell: Doorbell, ready: ReadySet
) -> None:
    held, free = new_id(), new_id()
    await ready.hold(held, 0.15)
    await _ring(doorbell, (1, held), (1, free))
    assert (await ready.pop(10)).turns == [(1, free)]
    assert (await ready.pop(10)).turns == []
    await asyncio.sleep(0.2)
    assert (await ready.pop(10)).turns == [(1, held)]


async def test_a_lifted_hold_lets_the_next_ring_through(
    doorbell: Doorbell, ready: ReadySet
) -> None:
    connector = new_id()
    await ready.hold(connector, 60)
    await _ring(doorbell, (1, connector))
    assert (await ready.pop(10)).turns == []
    await ready.lift_hold(connector)
    await _ring(doorbell, (1, connector))
    assert (await ready.pop(10)).turns == [(1, connector)]


@pytest.mark.parametrize("order", [(60.0, 1.0), (1.0, 60.0)])
async def test_the_longer_hold_stays(
    client: redis.asyncio.Redis, ready: ReadySet, order: tuple[float, float]
) -> None:
    connector = new_id()
    for seconds in order:
        await ready.hold(connector, seconds)
    assert 55_000 < await client.pttl(f"hold:{connector.hex}") <= 60_000


# -- the bell --------------------------------------------------------------------------------------


async def test_many_rings_are_one_job(doorbell: Doorbell, redis_url: str) -> None:
    for _ in range(20):
        await _ring(doorbell, (1, new_id()))
    assert _jobs(redis_url) == 1


async def test_two_processes_that_ring_at_once_make_one_job(
    client: redis.asyncio.Redis, doorbell: Doorbell, redis_url: str
) -> None:
    other = Doorbell(client, redis_url)
    doorbell.ring([(1, new_id())])
    other.ring([(1, new_id())])
    await asyncio.gather(doorbell.drain(), other.drain())
    other.close()
    assert _jobs(redis_url) == 1


async def test_a_worker_that_looks_at_the_set_needs_no_job_until_it_releases_the_bell(
    doorbell: Doorbell, ready: ReadySet, redis_url: str
) -> None:
    await ready.pop(10)
    await _ring(doorbell, (1, new_id()))
    assert _jobs(redis_url) == 0
    await ready.release_bell()
    await _ring(doorbell, (1, new_id()))
    assert _jobs(redis_url) == 1


async def test_a_last_look_does_not_take_the_bell(
    doorbell: Doorbell, ready: ReadySet, redis_url: str
) -> None:
    await ready.pop(10, keep_bell=False)
    await _ring(doorbell, (1, new_id()))
    assert _jobs(redis_url) == 1


async def test_a_worker_that_died_with_the_bell_silences_it_for_two_seconds_only(
    client: redis.asyncio.Redis, doorbell: Doorbell, ready: ReadySet, redis_url: str
) -> None:
    await ready.pop(10)
    left_ms = await client.pttl("bell")
    assert 0 < left_ms <= 2000
    await asyncio.sleep(left_ms / 1000 + 0.05)
    await _ring(doorbell, (1, new_id()))
    assert _jobs(redis_url) == 1


async def test_a_call_for_help_makes_one_job_at_most(doorbell: Doorbell, redis_url: str) -> None:
    await doorbell.call_for_help()
    await doorbell.call_for_help()
    assert _jobs(redis_url) == 1


async def test_a_wake_up_that_no_worker_takes_goes_away(doorbell: Doorbell, redis_url: str) -> None:
    """Workers that were away for an hour must not come back to a pile of them."""
    await _ring(doorbell, (1, new_id()))
    connection = Redis.from_url(redis_url)
    (job,) = Queue(QUEUE, connection=connection, serializer=JSONSerializer).jobs
    connection.close()
    assert (job.func_name, job.args, job.ttl) == (DRAIN_JOB, [], 60)


async def test_without_redis_ringing_neither_fails_nor_waits_for_long() -> None:
    url = "redis://127.0.0.1:1/0"
    client = redis.asyncio.Redis.from_url(url, socket_connect_timeout=1)
    doorbell = Doorbell(client, url)
    async with asyncio.timeout(10):
        await _ring(doorbell, (1, new_id()))
        await doorbell.call_for_help()
    doorbell.close()
    await client.aclose()


# -- names -----------------------------------------------------------------------------------------


def test_the_job_is_there() -> None:
    """`backend` never imports `workers`: it names the job, and RQ resolves the name like this."""
    job = import_attribute(DRAIN_JOB)
    assert callable(job)
    assert job.__code__.co_argcount == 0


def test_every_priority_has_a_lane_that_is_looked_at() -> None:
    assert sorted(LANES.values()) == list(range(LANE_COUNT))
    assert min(LANES, key=LANES.__getitem__) == "high"
