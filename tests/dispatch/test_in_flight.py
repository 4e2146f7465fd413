"""What a process holds: leases are renewed while they are held, and there is an end to the room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import psycopg
import pytest

from backend.dispatch.in_flight import InFlight
from backend.ids import new_id
from tests.dispatch.queues import Parcel, Yard


def _hold(in_flight: InFlight[Parcel], *parcels: Parcel) -> None:
    now = asyncio.get_running_loop().time()
    for parcel in parcels:
        in_flight.hold(parcel.id, parcel.carrier_id, parcel, now)


async def _until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_true():
            await asyncio.sleep(0.005)


async def test_leases_are_renewed_while_they_are_held_and_not_after() -> None:
    yard = Yard()
    in_flight: InFlight[Parcel] = InFlight(10, lease_s=0.03, renew=yard.renew)
    kept, done = (Parcel(new_id(), new_id()) for _ in range(2))
    _hold(in_flight, kept, done)
    keeping = asyncio.create_task(in_flight.keep_leases())
    await _until(lambda: {kept.id, done.id} <= set(yard.renewed))
    in_flight.let_go(done.id)
    yard.renewed.clear()
    await _until(lambda: yard.renewed.count(kept.id) >= 3)
    assert done.id not in yard.renewed
    assert len(in_flight) == 1
    keeping.cancel()


async def test_a_database_that_is_away_costs_a_renewal_and_a_bug_is_raised() -> None:
    errors: list[Exception] = [psycopg.OperationalError("gone"), LookupError("broken")]

    async def renew(parcels: Sequence[Parcel]) -> None:
        raise errors.pop(0)

    in_flight: InFlight[Parcel] = InFlight(10, lease_s=0.003, renew=renew)
    _hold(in_flight, Parcel(new_id(), new_id()))
    with pytest.raises(LookupError):
        await in_flight.keep_leases()
    assert errors == []


async def test_room_comes_back_with_what_is_let_go() -> None:
    in_flight: InFlight[Parcel] = InFlight(4, lease_s=30, renew=Yard().renew)
    parcels = [Parcel(new_id(), new_id()) for _ in range(4)]
    _hold(in_flight, *parcels)
    waiting = asyncio.create_task(in_flight.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    in_flight.let_go(parcels[0].id)
    assert await waiting == 1
    # Letting go twice gives no second place.
    in_flight.let_go(parcels[0].id)
    assert await in_flight.wait_for_room() == 1


async def test_a_request_to_stop_leaves_no_room_and_keeps_what_is_held() -> None:
    in_flight: InFlight[Parcel] = InFlight(4, lease_s=30, renew=Yard().renew)
    _hold(in_flight, *[Parcel(new_id(), new_id()) for _ in range(4)])
    waiting = asyncio.create_task(in_flight.wait_for_room())
    await asyncio.sleep(0)
    in_flight.request_stop()
    assert await waiting == 0
    assert len(in_flight) == 4
