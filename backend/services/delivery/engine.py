"""The delivery engine of one worker process. At-least-once up to the write to the provider, never
twice after it: a send cut off in the middle is uncertain, not repeated.

It lives on one long event loop. RQ jobs lend it time to claim (`drain_slice`); sends, recording and
lease renewal go on between the slices. Whatever fails stops its own message or connector, and no
other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog

from backend import ids
from backend.dispatch.circuits import Circuits
from backend.dispatch.drain import drain
from backend.dispatch.in_flight import InFlight
from backend.dispatch.pacing import Pacer
from backend.dispatch.retry import RetryPolicy
from backend.ledger.claims import Claim, Claims
from backend.ledger.recorder import Recorder
from backend.ledger.results import Result
from backend.models.session import Database
from backend.outages import OutageLog, is_outage
from backend.process.tasks import Tasks
from backend.providers.frame.errors import SendError
from backend.providers.frame.provider import Accepted
from backend.queueing import Doorbell, ReadySet
from backend.services.delivery import next_step, outcomes
from backend.services.delivery.broken import BrokenConnectors
from backend.services.delivery.circuit import is_failure, note_answer
from backend.services.delivery.claiming import Claiming
from backend.services.delivery.exchange import ask_provider
from backend.services.delivery.open_connectors import OpenConnector, OpenConnectors

log = structlog.get_logger()

_AWAY_S: Final = 0.25
_CANCELLED_S: Final = 2.0
_RECORDING_S: Final = 5.0


class DeliveryEngine:
    def __init__(
        self,
        *,
        database: Database,
        ready: ReadySet,
        doorbell: Doorbell,
        connectors: OpenConnectors,
        pacer: Pacer,
        circuits: Circuits,
        broken: BrokenConnectors,
        retry_policy: RetryPolicy,
        concurrency: int,
        lease_s: float,
        exchange_timeout_s: float,
        settle_s: float,
    ) -> None:
        self._ready = ready
        self._doorbell = doorbell
        self._connectors = connectors
        self._circuits = circuits
        self._broken = broken
        self._retry_policy = retry_policy
        self._exchange_timeout_s = exchange_timeout_s
        self._settle_s = settle_s
        self._claims = Claims(database.raw, lease_s=lease_s)
        self._recorder = Recorder(database.raw, doorbell)
        self._in_flight = InFlight(concurrency, lease_s=lease_s, renew=self._claims.renew)
        self._probes: set[UUID] = set()  # messages sent to find out whether their connector is back
        self._tasks = Tasks()
        self._outage = OutageLog("delivery.servers_away")
        self._claiming = Claiming(
            self,
            ready=ready,
            doorbell=doorbell,
            connectors=connectors,
            pacer=pacer,
            circuits=circuits,
            claims=self._claims,
            in_flight=self._in_flight,
            outage=self._outage,
        )

    # -- what RQ calls ---------------------------------------------------------------------------

    async def drain_slice(self, seconds: float) -> None:
        """Claim and start sends until nothing is due for a moment, or `seconds` are over."""
        self._claiming.has_left_turns = False
        try:
            await drain(self._claiming, self._ready, self._doorbell, seconds=seconds)
        except Exception as exc:
            if not is_outage(exc):
                raise
            # The rows are in Postgres; the sweeper rings when Redis is back.
            self._outage.warn(exc)
            await asyncio.sleep(_AWAY_S)

    def request_stop(self) -> None:
        """Claim nothing more; sends under way go on."""
        self._in_flight.request_stop()

    async def close(self, grace_s: float) -> None:
        """Let sends under way end for `grace_s`, record them, give back what was not sent."""
        self.request_stop()
        await self._tasks.wait(grace_s)
        self._tasks.cancel()
        await self._tasks.wait(_CANCELLED_S)
        await asyncio.wait_for(self._recorder.drain(), timeout=_RECORDING_S)

    async def keep_leases(self) -> None:
        """Renew what is held; runs until cancelled."""
        await self._in_flight.keep_leases()

    # -- what becomes of claims ------------------------------------------------------------------

    async def start(
        self, claims: Sequence[Claim], connectors: Mapping[UUID, OpenConnector], probes: set[UUID]
    ) -> None:
        """Mark claims as in flight and send those that are still ours."""
        self._probes |= probes
        now = asyncio.get_running_loop().time()
        for claim in claims:
            self._in_flight.hold(claim.message_id, claim.connector_id, claim, now)
        try:
            ours = await self._claims.mark_in_flight(claims)
        except Exception as exc:  # noqa: BLE001 (they are given back)
            # Whether the mark was committed is unknown.
            log.warning("claim.not_marked", error=type(exc).__name__, claims=len(claims))
            self.release(list(claims))
            return
        for claim in claims:
            if claim.message_id in ours:
                self._tasks.spawn(self._send(claim, connectors[claim.connector_id]))
            else:
                self._in_flight.let_go(claim.message_id)

    def release(self, claims: list[Claim], delays_s: Mapping[UUID, float] | None = None) -> None:
        """Give claims back that were surely not sent, each due after its delay; returns at once."""
        self._tasks.spawn(self._release(claims, delays_s))

    async def _release(self, claims: list[Claim], delays_s: Mapping[UUID, float] | None) -> None:
        try:
            await self._release_at_last(claims, delays_s)
        except Exception:
            # Their leases end by themselves: they are not renewed any more.
            log.exception("claim.not_released", claims=len(claims))
        for claim in claims:
            self._in_flight.let_go(claim.message_id)
            delay_s = delays_s[claim.message_id] if delays_s is not None else 0.0
            self._doorbell.ring([(claim.lane, claim.connector_id)], delay_ms=int(delay_s * 1000))

    async def _release_at_last(
        self, claims: list[Claim], delays_s: Mapping[UUID, float] | None
    ) -> None:
        while True:
            try:
                return await self._claims.release(claims, delays_s=delays_s)
            except Exception as exc:
                if not is_outage(exc):
                    raise
                await asyncio.sleep(_AWAY_S)

    # -- sending ---------------------------------------------------------------------------------

    async def _send(self, claim: Claim, connector: OpenConnector) -> None:
        try:
            await self._settle(await self._exchange(claim, connector), connector)
        except Exception:
            # Its lease ends, and the sweeper says what that means.
            log.exception(
                "attempt.not_recorded", message_id=ids.encode(ids.MESSAGE, claim.message_id)
            )
        finally:
            self._in_flight.let_go(claim.message_id)

    async def _settle(self, result: Result, connector: OpenConnector) -> None:
        """Record what became of a claim, and ring for its message when it is to be tried again."""
        try:
            result = next_step.after_try(result, connector, settle_s=self._settle_s)
        except Exception:
            # A route that cannot be read: then the message has no further way.
            log.exception(
                "attempt.route_unreadable",
                message_id=ids.encode(ids.MESSAGE, result.claim.message_id),
            )
            claim = replace(result.claim, route=None)
            result = next_step.after_try(
                replace(result, claim=claim), connector, settle_s=self._settle_s
            )
        await self._slow_down(result, connector)
        recorded = await self._recorder.record(result)
        if result.retry_in_s is not None and recorded.is_ours:
            turn = (result.claim.lane, result.claim.connector_id)
            self._doorbell.ring([turn], delay_ms=int(result.retry_in_s * 1000) + 1)

    async def _exchange(self, claim: Claim, connector: OpenConnector) -> Result:
        is_probe = bool(self._probes) and claim.message_id in self._probes
        self._probes.discard(claim.message_id)
        if claim.expires_at is not None and claim.expires_at <= claim.now():
            if is_probe:
                await self._circuits.end_probe(claim.connector_id)
            return outcomes.expired(claim)
        started_at, started = claim.now(), time.perf_counter()
        answer = await ask_provider(claim, connector, timeout_s=self._exchange_timeout_s)
        took_s = time.perf_counter() - started
        counts = await self._note(claim, connector, answer, took_s, is_probe=is_probe)
        if isinstance(answer, Accepted):
            return outcomes.accepted(claim, answer, started_at, took_s * 1000)
        policy = self._retry_policy.overridden_by(connector.retry)
        return outcomes.failed(claim, answer, policy, started_at, took_s * 1000, counts=counts)

    async def _note(
        self,
        claim: Claim,
        connector: OpenConnector,
        answer: Accepted | SendError,
        took_s: float,
        *,
        is_probe: bool,
    ) -> bool:
        """Tell shares and circuits; returns whether it was one of the message's tries."""
        now = asyncio.get_running_loop().time()
        try:
            self._in_flight.shares.heard(
                claim.connector_id, now, took_s, is_failure=is_failure(answer)
            )
            return await note_answer(self._circuits, claim, connector, answer, is_probe=is_probe)
        except Exception:
            # What the provider has said must be recorded all the same.
            log.exception(
                "circuit.failed", connector_id=ids.encode(ids.CONNECTOR, claim.connector_id)
            )
            return True

    async def _slow_down(self, result: Result, connector: OpenConnector) -> None:
        """A throttled or broken connector waits as a whole, so that no other attempt is burnt."""
        claim = result.claim
        if result.outcome == "broken":
            title = connector.provider.title if connector.provider is not None else "The provider"
            await self._broken.mark(claim.connector_id, title=title, reason=result.reason)
        if result.hold_s > 0:
            try:
                await self._ready.hold(claim.connector_id, result.hold_s)
            except Exception as exc:  # noqa: BLE001 (the outcome is recorded all the same)
                self._outage.warn(exc)
