"""The circuit breaker of a second queue: its own keys, the same states, no provider in sight."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from backend.dispatch.circuits import Circuits
from backend.ids import new_id
from backend.queueing import MESSAGES, Doorbell, Popped, ReadySet, Turn
from tests.dispatch.queues import PARCELS, Carriers
from tests.providers.fakes import refused_port


async def _fail(circuits: Circuits, turn: Turn, times: int) -> list[bool]:
    return [await circuits.failed(turn, "no answer", is_probe=False) for _ in range(times)]


async def _pop(ready: ReadySet) -> Popped:
    """Wait until an owner has a turn."""
    async with asyncio.timeout(10):
        while not (popped := await ready.pop(10)).turns:
            await asyncio.sleep(0.005)
    return popped


async def test_five_failures_in_a_row_open_it_and_the_next_turn_is_a_probe(
    client: redis.asyncio.Redis, circuits: Circuits, carriers: Carriers, ready: ReadySet
) -> None:
    turn = (1, new_id())
    assert await _fail(circuits, turn, 7) == [False] * 4 + [True] * 3
    assert carriers.opened_for == [(turn[1], "no answer", False)]
    assert await client.get(PARCELS.circuit(turn[1])) == b"50"
    assert not await client.exists(MESSAGES.circuit(turn[1]), MESSAGES.hold(turn[1]))
    popped = await _pop(ready)
    assert popped == Popped([turn], frozenset({turn[1]}))


async def test_a_probe_that_fails_doubles_the_pause_up_to_the_longest(
    client: redis.asyncio.Redis, circuits: Circuits, carriers: Carriers
) -> None:
    turn = (1, new_id())
    await _fail(circuits, turn, 5)
    pauses = []
    for _ in range(4):
        assert await circuits.failed(turn, "still none", is_probe=True)
        pauses.append(int(await client.get(PARCELS.circuit(turn[1])) or 0))
    assert pauses == [100, 200, 200, 200]
    assert carriers.opened_for[1:] == [(turn[1], "still none", True)] * 4


async def test_a_probe_that_is_answered_closes_it_and_every_lane_has_its_turn(
    client: redis.asyncio.Redis,
    circuits: Circuits,
    carriers: Carriers,
    doorbell: Doorbell,
    ready: ReadySet,
) -> None:
    owner_id = new_id()
    await _fail(circuits, (1, owner_id), 5)
    await circuits.answered(owner_id, is_probe=True, is_known_open=True)
    assert carriers.closed_for == [owner_id]
    assert not await client.exists(PARCELS.circuit(owner_id), PARCELS.hold(owner_id))
    await doorbell.drain()
    assert await ready.pop(10) == Popped([(lane, owner_id) for lane in range(3)], frozenset())


async def test_a_success_a_moment_ago_takes_more_failures_to_open_it(
    circuits: Circuits, carriers: Carriers
) -> None:
    turn = (1, new_id())
    await circuits.answered(turn[1], is_probe=False, is_known_open=False)
    # Within a second of the success, only the twentieth opens it.
    assert await _fail(circuits, turn, 6) == [False] * 6
    await circuits.answered(turn[1], is_probe=False, is_known_open=False)
    assert await _fail(circuits, turn, 19) == [False] * 19
    assert await circuits.failed(turn, "no answer", is_probe=False)
    assert len(carriers.opened_for) == 1
    assert carriers.closed_for == []


async def test_what_is_known_as_open_is_closed_once_by_the_first_answer(
    circuits: Circuits, carriers: Carriers
) -> None:
    """Redis forgot; the row says open, and what a worker knows of it is a few seconds old."""
    owner_id = new_id()
    for _ in range(3):
        await circuits.answered(owner_id, is_probe=False, is_known_open=True)
    assert carriers.closed_for == [owner_id]


async def test_of_two_workers_one_opens_it(
    client: redis.asyncio.Redis, doorbell: Doorbell, carriers: Carriers
) -> None:
    turn = (1, new_id())
    for _ in range(2):
        worker = Circuits(
            client, doorbell, carriers, first_pause_s=9, longest_pause_s=9, queue=PARCELS
        )
        assert (await _fail(worker, turn, 5))[-1]
    assert len(carriers.opened_for) == 1


async def test_a_turn_that_is_no_probe_says_that_it_was_closed(circuits: Circuits) -> None:
    turn = (1, new_id())
    await _fail(circuits, turn, 5)
    circuits.resume(turn[1])
    assert not await circuits.failed(turn, "no answer", is_probe=False)


async def test_a_probe_that_found_out_nothing_is_given_back(
    client: redis.asyncio.Redis, circuits: Circuits
) -> None:
    owner_id = new_id()
    await circuits.end_probe(owner_id, pause_s=5)
    assert 4000 < await client.pttl(PARCELS.hold(owner_id)) <= 5000
    await circuits.end_probe(owner_id)
    assert not await client.exists(PARCELS.hold(owner_id))


@pytest.mark.parametrize("is_probe", [False, True])
async def test_without_redis_failures_count_and_nothing_is_raised(
    doorbell: Doorbell, carriers: Carriers, is_probe: bool
) -> None:
    client = redis.asyncio.Redis(port=refused_port(), retry=Retry(NoBackoff(), 0))
    circuits = Circuits(client, doorbell, carriers, first_pause_s=1, longest_pause_s=1)
    turn = (1, new_id())
    await _fail(circuits, turn, 4)
    assert await circuits.failed(turn, "no answer", is_probe=is_probe)
    await circuits.end_probe(turn[1])
    await circuits.answered(turn[1], is_probe=is_probe, is_known_open=False)
    assert carriers.opened_for == []
    assert carriers.closed_for == [turn[1]]
    await client.aclose()
