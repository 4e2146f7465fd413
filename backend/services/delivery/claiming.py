"""Claiming: whose turn it is, how much each connector may claim, and what of it may go now.

Whatever fails puts its own turn back, and stops no other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

import structlog

from backend import ids
from backend.dispatch.circuits import Circuits
from backend.dispatch.in_flight import InFlight
from backend.dispatch.pacing import Pacer
from backend.dispatch.turn_limits import TurnLimiter
from backend.ledger.claims import MOST_OF_A_TURN, Claim, Claims
from backend.outages import OutageLog, is_outage
from backend.queueing import Doorbell, Popped, ReadySet, Turn
from backend.services.delivery import outcomes
from backend.services.delivery.open_connectors import OpenConnector, OpenConnectors
from backend.services.delivery.pacing import recipient_paces

log = structlog.get_logger()

# Messages of one connector before it is the next one's turn: small enough to be fair between
# tenants, large enough that a claim statement is worth its round trip.
_QUANTUM: Final = MOST_OF_A_TURN
_TURNS_AT_ONCE: Final = 32
_AWAY_MS: Final = 250
# Beyond those that a worker avoids, connectors come round again so soon.
_CROWDED_MS: Final = 1000


class Sends(Protocol):
    """What becomes of claims."""

    def start(
        self, claims: Sequence[Claim], connectors: Mapping[UUID, OpenConnector], probes: set[UUID]
    ) -> Awaitable[None]:
        """Send these now; `probes` are the messages that show whether their connector is back."""
        ...

    def release(self, claims: list[Claim], delays_s: Mapping[UUID, float] | None = None) -> None:
        """Give these back, each due after its delay; returns at once."""
        ...


class Claiming:
    """Takes turns (dispatch/drain.py)."""

    def __init__(
        self,
        sends: Sends,
        *,
        ready: ReadySet,
        doorbell: Doorbell,
        connectors: OpenConnectors,
        pacer: Pacer,
        circuits: Circuits,
        claims: Claims,
        in_flight: InFlight[Claim],
        outage: OutageLog,
    ) -> None:
        self.has_left_turns = False
        self._sends = sends
        self._ready = ready
        self._doorbell = doorbell
        self._connectors = connectors
        self._pacer = pacer
        self._circuits = circuits
        self._claims = claims
        self._in_flight = in_flight
        self._limiter = TurnLimiter(pacer, in_flight.shares, circuits, doorbell)
        self._outage = outage

    @property
    def is_stopping(self) -> bool:
        return self._in_flight.is_stopping

    async def take_turns(self, *, keep_bell: bool = True) -> bool:
        """Claim for whose turn it is; returns False when no connector was ready."""
        room = await self._in_flight.wait_for_room()
        if room <= 0:
            return False
        popped = await self._ready.pop(
            min(_TURNS_AT_ONCE, room),
            keep_bell=keep_bell,
            avoid=self._connectors.unopened.avoided(),
        )
        if not popped.turns:
            return False
        try:
            await self._work_off(popped, room)
        except Exception as exc:  # noqa: BLE001 (it is logged, and its turns are put back)
            await self._recover(popped, room, exc)
        return True

    async def _work_off(self, popped: Popped, room: int) -> None:
        """Claim for these turns, and start what may be sent now."""
        most_each = max(1, min(_QUANTUM, room // len(popped.turns)))
        connectors = await self._usable(popped)
        paces = {
            connector_id: pace
            for connector_id, connector in connectors.items()
            if (pace := connector.pace) is not None
        }
        limits = await self._limiter.measure(
            popped, connectors, paces, most_each=most_each, now=asyncio.get_running_loop().time()
        )
        most = limits.most
        claims = await self._claims.take(list(most), most_each, at_most=most) if most else []
        try:
            sendable = await self._hold_back(claims, connectors)
            await self._limiter.settle(limits, _by_turn(claims), _by_turn(sendable))
        except Exception:
            # None of it was sent; no message waits for its lease to end.
            self._sends.release(claims)
            raise
        if sendable:
            probes = {c.message_id for c in sendable if c.connector_id in popped.probes}
            await self._sends.start(sendable, connectors, probes)

    async def _recover(self, popped: Popped, room: int, error: Exception) -> None:
        """Put turns back that could not be worked off, and find out which of them failed."""
        if is_outage(error):
            self._outage.warn(error)
            for turn in popped.turns:
                await self._put_back(turn, popped, delay_ms=_AWAY_MS)
            await asyncio.sleep(_AWAY_MS / 1000)
        elif len(popped.turns) > 1:
            log.error("claim.failed", turns=len(popped.turns), exc_info=error)
            for turn in popped.turns:
                alone = Popped([turn], popped.probes & {turn[1]})
                try:
                    await self._work_off(alone, room)
                except Exception as exc:  # noqa: BLE001 (it is logged, and its turn is put back)
                    await self._recover(alone, room, exc)
        else:
            (turn,) = popped.turns
            log.error(
                "claim.failed", connector_id=ids.encode(ids.CONNECTOR, turn[1]), exc_info=error
            )
            self._connectors.unopened.rest(
                turn[1], f"Its messages could not be claimed ({type(error).__name__})."
            )
            await self._put_back(turn, popped)

    async def _put_back(self, turn: Turn, popped: Popped, *, delay_ms: int = 0) -> None:
        """Leave a turn to any worker that can take it."""
        if turn[1] in popped.probes:
            await self._circuits.end_probe(turn[1])
        self._doorbell.ring([turn], delay_ms=delay_ms)

    async def _hold_back(
        self, claims: list[Claim], connectors: Mapping[UUID, OpenConnector]
    ) -> list[Claim]:
        """Give back what would overrun its recipient's pace, each until its place.

        Returns the rest.
        """
        delays_s = await self._pacer.delays_s(recipient_paces(claims, connectors))
        if not delays_s:
            return claims
        self._sends.release([claim for claim in claims if claim.message_id in delays_s], delays_s)
        return [claim for claim in claims if claim.message_id not in delays_s]

    async def _usable(self, popped: Popped) -> dict[UUID, OpenConnector]:
        """Return the connectors whose messages are claimed now; the others' messages wait."""
        connector_ids = list({connector_id for _, connector_id in popped.turns})
        opened = await asyncio.gather(
            *map(self._connectors.get, connector_ids), return_exceptions=True
        )
        known = dict(zip(connector_ids, opened, strict=True))
        usable: dict[UUID, OpenConnector] = {}
        for turn in popped.turns:
            connector = known[turn[1]]
            if isinstance(connector, BaseException):
                self._outage.warn(connector)
                await self._put_back(turn, popped, delay_ms=_AWAY_MS)
            elif connector.is_unopened:
                await self._leave_to_others(turn, popped)
            elif connector.provider is None and not connector.is_gone:
                await self._ready.hold(turn[1], outcomes.WAITING_HOLD_S)
                self._doorbell.ring([turn], delay_ms=int(outcomes.WAITING_HOLD_S * 1000))
            else:
                usable[turn[1]] = connector
        return usable

    async def _leave_to_others(self, turn: Turn, popped: Popped) -> None:
        """This worker cannot open the connector: it holds it for no other."""
        self.has_left_turns = True
        is_avoided = turn[1] in self._connectors.unopened.avoided()
        await self._put_back(turn, popped, delay_ms=0 if is_avoided else _CROWDED_MS)


def _by_turn(claims: Sequence[Claim]) -> Counter[Turn]:
    return Counter((claim.lane, claim.connector_id) for claim in claims)
