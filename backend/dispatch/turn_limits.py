"""Turn limits: how much each owner whose turn it is may claim, and which have another turn.

By its circuit (a half open one: one), its share of this worker's places, and its pace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from backend.dispatch.circuits import Circuits
from backend.dispatch.pacing import Pace, Pacer, Permit
from backend.dispatch.shares import Shares
from backend.queueing import LANE_COUNT, Doorbell, Popped, Turn

# An owner that holds its whole share of a worker's places is looked at again so soon.
_FULL_MS: Final = 20
_YIELD_MS: Final = 15


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """`most`: what each turn may claim.

    `permits`: what paced turns got from their pace, and when there is more.
    """

    most: Mapping[Turn, int]
    permits: Mapping[Turn, Permit]
    paces: Mapping[UUID, Pace]
    probes: frozenset[UUID]


class TurnLimiter:
    def __init__(
        self, pacer: Pacer, shares: Shares, circuits: Circuits, doorbell: Doorbell
    ) -> None:
        self._pacer = pacer
        self._shares = shares
        self._circuits = circuits
        self._doorbell = doorbell

    async def measure(
        self,
        popped: Popped,
        usable: Container[UUID],
        paces: Mapping[UUID, Pace],
        *,
        most_each: int,
        now: float,
    ) -> TurnLimits:
        """Only turns of `usable` owners get a limit; `now` is the event loop's time."""
        most: dict[Turn, int] = {}
        for turn in popped.turns:
            if turn[1] in usable:
                self._measure(turn, popped.probes, most, most_each, now)
        permits = await self._pacer.ask(most, paces)
        for turn, permit in permits.items():
            if permit.count:
                most[turn] = permit.count
            else:
                del most[turn]
                self._doorbell.ring([turn], delay_ms=permit.wait_ms)
                if turn[1] in popped.probes:
                    await self._circuits.end_probe(turn[1], pause_s=permit.wait_ms / 1000)
        return TurnLimits(most, permits, paces, popped.probes)

    def _measure(
        self,
        turn: Turn,
        probes: frozenset[UUID],
        most: dict[Turn, int],
        most_each: int,
        now: float,
    ) -> None:
        if turn[1] in probes:
            most[turn] = 1
            return
        self._circuits.resume(turn[1])
        room = min(most_each, self._shares.room_of(turn[1], now))
        if room:
            most[turn] = room
        else:
            self._doorbell.ring([turn], delay_ms=_FULL_MS)

    async def settle(
        self, limits: TurnLimits, claimed: Counter[Turn], started: Counter[Turn]
    ) -> None:
        """Ring for who may have more, and give back what was permitted and is not used."""
        unused: Counter[UUID] = Counter()
        for turn, most in limits.most.items():
            if turn[1] in limits.probes:
                await self._settle_probe(turn, claimed[turn], started[turn])
            elif claimed[turn] >= most:
                # An owner that used its limit up has more, and goes to the end of the line.
                permit = limits.permits.get(turn)
                is_used = permit is not None and started[turn] >= most
                # A little later than those of its pace that got nothing: they are first the next
                # time.
                wait_ms = permit.wait_ms + _YIELD_MS if permit is not None and is_used else 0
                self._doorbell.ring([turn], delay_ms=wait_ms)
            if turn in limits.permits:
                unused[turn[1]] += most - started[turn]
        if unused:
            await self._pacer.give_back(unused, limits.paces)

    async def _settle_probe(self, turn: Turn, claimed: int, started: int) -> None:
        """Its next turn is when the probe is back; unless nothing is on its way."""
        if started:
            return
        await self._circuits.end_probe(turn[1])
        others = {(lane, turn[1]) for lane in range(LANE_COUNT)} - {turn}
        self._doorbell.ring([turn] if claimed else others)
