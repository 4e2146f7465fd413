"""All parts together carry another queue than messages: parcels, from the ring to the hand-over."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final
from uuid import UUID

import redis.asyncio

from backend.dispatch.circuits import Circuits
from backend.dispatch.drain import drain
from backend.dispatch.in_flight import InFlight
from backend.dispatch.pacing import Pace, Pacer
from backend.dispatch.turn_limits import TurnLimiter
from backend.ids import new_id
from backend.queueing import Doorbell, ReadySet, Turn
from tests.dispatch.queues import PARCELS, Parcel, Yard

PATIENCE_S: Final = 20.0


class Loader:
    """Hands parcels to their carriers, all but those of carriers that are away."""

    def __init__(
        self, yard: Yard, ready: ReadySet, doorbell: Doorbell, pacer: Pacer, circuits: Circuits
    ) -> None:
        self.loaded: list[Parcel] = []
        self.away: set[UUID] = set()
        self.paces: dict[UUID, Pace] = {}
        self.tries: Counter[UUID] = Counter()
        self.has_left_turns = False
        self._yard = yard
        self._ready = ready
        self._doorbell = doorbell
        self._circuits = circuits
        self._in_flight: InFlight[Parcel] = InFlight(8, lease_s=30, renew=yard.renew)
        self._limiter = TurnLimiter(pacer, self._in_flight.shares, circuits, doorbell)

    @property
    def is_stopping(self) -> bool:
        return self._in_flight.is_stopping

    async def take_turns(self, *, keep_bell: bool = True) -> bool:
        room = await self._in_flight.wait_for_room()
        popped = await self._ready.pop(room, keep_bell=keep_bell)
        if not popped.turns:
            return False
        now = asyncio.get_running_loop().time()
        usable = {owner_id for _, owner_id in popped.turns}
        limits = await self._limiter.measure(popped, usable, self.paces, most_each=4, now=now)
        parcels = [
            parcel for turn, most in limits.most.items() for parcel in self._yard.take(turn, most)
        ]
        by_turn: Counter[Turn] = Counter(parcel.turn for parcel in parcels)
        await self._limiter.settle(limits, by_turn, by_turn)
        for parcel in parcels:
            self._in_flight.hold(parcel.id, parcel.carrier_id, parcel, now)
            await self._load(parcel, is_probe=parcel.carrier_id in limits.probes)
        return True

    async def _load(self, parcel: Parcel, *, is_probe: bool) -> None:
        owner_id, now = parcel.carrier_id, asyncio.get_running_loop().time()
        self.tries[owner_id] += 1
        is_away = owner_id in self.away
        self._in_flight.shares.heard(owner_id, now, 0.001, is_failure=is_away)
        if is_away:
            self._yard.add(parcel)
            if not await self._circuits.failed(parcel.turn, "gate closed", is_probe=is_probe):
                self._doorbell.ring([parcel.turn])
        else:
            self.loaded.append(parcel)
            await self._circuits.answered(owner_id, is_probe=is_probe, is_known_open=False)
        self._in_flight.let_go(parcel.id)


async def _work(
    loader: Loader, ready: ReadySet, doorbell: Doorbell, parcels: int, *, rings: list[Turn]
) -> None:
    """Drain until so many parcels are loaded, with the rings that a sweeper gives."""
    ends_at = time.monotonic() + PATIENCE_S
    while len(loader.loaded) < parcels:
        assert time.monotonic() < ends_at, f"{len(loader.loaded)} of {parcels}"
        doorbell.ring(rings)
        await doorbell.drain()
        await drain(loader, ready, doorbell, seconds=0.2)


async def test_a_dead_carrier_costs_the_others_nothing_and_goes_on_when_it_is_back(
    client: redis.asyncio.Redis,
    ready: ReadySet,
    doorbell: Doorbell,
    pacer: Pacer,
    circuits: Circuits,
) -> None:
    yard = Yard()
    loader = Loader(yard, ready, doorbell, pacer, circuits)
    dead, well, paced = (new_id() for _ in range(3))
    for carrier_id in (dead, well, paced):
        yard.add(*(Parcel(new_id(), carrier_id) for _ in range(20)))
    loader.away = {dead}
    loader.paces = {paced: Pace("gate", 200.0)}
    turns = [(1, carrier_id) for carrier_id in (dead, well, paced)]
    await _work(loader, ready, doorbell, 40, rings=turns)
    assert Counter(parcel.carrier_id for parcel in loader.loaded) == {well: 20, paced: 20}
    # Five to open its circuit, a few that were claimed with the fifth, then single probes.
    assert 5 <= loader.tries[dead] <= 20
    assert await client.exists(PARCELS.circuit(dead))
    loader.away = set()
    await _work(loader, ready, doorbell, 60, rings=[turns[0]])
    assert len({parcel.id for parcel in loader.loaded}) == len(loader.loaded) == 60
    assert not await client.exists(PARCELS.circuit(dead))


async def test_two_queues_in_one_redis_take_no_turns_of_each_other(
    client: redis.asyncio.Redis, ready: ReadySet, doorbell: Doorbell
) -> None:
    turn = (1, new_id())
    doorbell.ring([turn])
    await doorbell.drain()
    assert (await ReadySet(client).pop(10, keep_bell=False)).turns == []
    assert (await ready.pop(10)).turns == [turn]
    assert [key for key in await client.keys("*") if not key.startswith(b"rq:")] == [
        PARCELS.bell.encode()
    ]
    assert await client.keys("rq:queue:*") == [b"rq:queue:parcels"]
