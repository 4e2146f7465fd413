"""Step 7, portions: how many messages each connector whose turn it is may claim, and who has
another turn.

By its circuit (a half open one: one), its share of this worker's places, and its pace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from backend.ledger.claims import Claim
from backend.queueing import LANE_COUNT, Doorbell, Popped, Turn
from backend.services.delivery.circuit import Circuits
from backend.services.delivery.open_connectors import Account
from backend.services.delivery.pacing import Grant, Pacer
from backend.services.delivery.shares import Shares

# A connector that holds its whole share of a worker's places is looked at again so soon.
_FULL_MS: Final = 20
_YIELD_MS: Final = 15


@dataclass(frozen=True, slots=True)
class Portions:
    """`most`: what each turn may claim.

    `grants`: what paced turns got from their pace, and when there is more.
    """

    most: Mapping[Turn, int]
    grants: Mapping[Turn, Grant]
    probes: frozenset[UUID]


class Portioner:
    def __init__(
        self, pacer: Pacer, shares: Shares, circuits: Circuits, doorbell: Doorbell
    ) -> None:
        self._pacer = pacer
        self._shares = shares
        self._circuits = circuits
        self._doorbell = doorbell

    async def measure(
        self, popped: Popped, accounts: Mapping[UUID, Account], *, most_each: int, now: float
    ) -> Portions:
        """Only turns whose connector is in `accounts` get a portion; `now` is the event loop's
        time.
        """
        most: dict[Turn, int] = {}
        for turn in popped.turns:
            if turn[1] not in accounts:
                continue
            room = (
                1
                if turn[1] in popped.probes
                else min(most_each, self._shares.room_of(turn[1], now))
            )
            if room:
                most[turn] = room
            else:
                self._doorbell.ring([turn], delay_ms=_FULL_MS)
            if turn[1] not in popped.probes:
                self._circuits.resume(turn[1])
        grants = await self._pacer.ask(most, accounts)
        for turn, grant in grants.items():
            if grant.count:
                most[turn] = grant.count
            else:
                del most[turn]
                self._doorbell.ring([turn], delay_ms=grant.wait_ms)
                if turn[1] in popped.probes:
                    await self._circuits.end_probe(turn[1], pause_s=grant.wait_ms / 1000)
        return Portions(most, grants, popped.probes)

    async def settle(
        self,
        portions: Portions,
        claimed: Sequence[Claim],
        sent: Sequence[Claim],
        accounts: Mapping[UUID, Account],
    ) -> None:
        """Ring for who may have more, and give back what was granted and is not used."""
        claims, sends = _count(claimed), _count(sent)
        unused: Counter[UUID] = Counter()
        for turn, most in portions.most.items():
            if turn[1] in portions.probes:
                # Its next turn is when the probe is back; unless nothing is on its way.
                if not sends[turn]:
                    await self._circuits.end_probe(turn[1])
                    others = {(lane, turn[1]) for lane in range(LANE_COUNT)} - {turn}
                    self._doorbell.ring([turn] if claims[turn] else others)
            elif claims[turn] >= most:
                # Whoever filled their portion has more, and goes to the back of the line.
                grant = portions.grants.get(turn)
                is_used = grant is not None and sends[turn] >= most
                # A little later than those of its account that got nothing: they are first the next
                # time.
                wait_ms = grant.wait_ms + _YIELD_MS if grant is not None and is_used else 0
                self._doorbell.ring([turn], delay_ms=wait_ms)
            if turn in portions.grants:
                unused[turn[1]] += most - sends[turn]
        if unused:
            await self._pacer.give_back(unused, accounts)


def _count(claims: Sequence[Claim]) -> Counter[Turn]:
    return Counter((claim.lane, claim.connector_id) for claim in claims)
