"""Step 7: the delivery engine of one worker process. At-least-once up to the write to the provider,
never twice after it: a send cut off in the middle is uncertain, not repeated.

It lives on one long event loop. RQ jobs lend it time to claim (`drain_slice`); sends, recording and
lease renewal go on between the slices. Whatever fails stops its own message or connector, and no
other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import structlog

from backend import ids
from backend.ledger.claims import MOST_OF_A_TURN, Claim, Claims
from backend.ledger.recorder import Recorder
from backend.models.session import Database
from backend.outages import OutageLog, is_outage
from backend.providers.frame.errors import SendError
from backend.providers.frame.provider import Accepted
from backend.queueing import Doorbell, Popped, ReadySet, Turn
from backend.services.delivery import next_step, outcomes
from backend.services.delivery.broken import BrokenConnectors
from backend.services.delivery.circuit import Circuits, is_failure
from backend.services.delivery.exchange import ask_provider
from backend.services.delivery.open_connectors import Account, Accounts
from backend.services.delivery.outcomes import Result, RetryPolicy
from backend.services.delivery.pacing import Pacer
from backend.services.delivery.portions import Portioner
from backend.services.delivery.shares import SLOW_S, Shares

log = structlog.get_logger()

# Messages of one connector before it is the next one's turn: small enough to be fair between
# tenants, large enough that a claim statement is worth its round trip.
QUANTUM: Final = MOST_OF_A_TURN
_TURNS_AT_ONCE: Final = 32
_LINGER_S: Final = 0.1
_POLL_S: Final = 0.01
_AWAY_S: Final = 0.25
# What is beyond those that a worker avoids comes round again so soon.
_CROWDED_MS: Final = 1000


class DeliveryEngine:
    def __init__(
        self,
        *,
        database: Database,
        ready: ReadySet,
        doorbell: Doorbell,
        accounts: Accounts,
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
        self._accounts = accounts
        self._pacer = pacer
        self._circuits = circuits
        self._broken = broken
        self._retry_policy = retry_policy
        self._shares = Shares(concurrency)
        self._portioner = Portioner(pacer, self._shares, circuits, doorbell)
        self._probes: set[UUID] = set()  # messages sent to find out whether their connector is back
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._exchange_timeout_s = exchange_timeout_s
        self._settle_s = settle_s
        self._claims = Claims(database.raw, lease_s=lease_s)
        self._recorder = Recorder(database.raw, doorbell)
        self._held: dict[UUID, Claim] = {}  # every claim whose outcome is not recorded yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._is_stopping = False
        self._has_left_turns = False  # to other workers, in this slice
        self._outage = OutageLog("delivery.servers_away")

    # -- what RQ calls ---------------------------------------------------------------------------

    async def drain_slice(self, seconds: float) -> None:
        """Claim and start sends until nothing is due for a moment, or `seconds` are over."""
        self._has_left_turns = False
        try:
            await self._drain(seconds)
        except Exception as exc:
            if not is_outage(exc):
                raise
            # The rows are in Postgres; the sweeper rings when Redis is back.
            self._outage.warn(exc)
            await asyncio.sleep(_AWAY_S)

    async def _drain(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        idle_since: float | None = None
        while not self._is_stopping and time.monotonic() < ends_at:
            if await self._take_turns():
                idle_since = None
                continue
            now = time.monotonic()
            idle_since = idle_since or now
            if now - idle_since < _LINGER_S:
                await asyncio.sleep(_POLL_S)
                continue
            # A ring before this line found the bell taken and enqueued nothing: look once more.
            await self._ready.release_bell()
            if not await self._take_turns(keep_bell=False):
                if self._has_left_turns:
                    await self._doorbell.call_for_help()
                break
            idle_since = None
        else:
            await self._ready.release_bell()
            await self._doorbell.call_for_help()

    def request_stop(self) -> None:
        """Claim nothing more; sends under way go on."""
        self._is_stopping = True
        self._room.set()

    async def close(self, grace_s: float) -> None:
        """Let sends under way end for `grace_s`, record them, give back what was not sent."""
        self.request_stop()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace_s)
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=2)
        await asyncio.wait_for(self._recorder.drain(), timeout=5)

    async def keep_leases(self) -> None:
        """Renew what is held, three times within a lease; runs until cancelled."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            held = list(self._held.values())
            if not held:
                continue
            try:
                await self._claims.renew(held)
            except Exception as exc:
                if not is_outage(exc):
                    raise
                log.warning("lease.database_away", error=type(exc).__name__, claims=len(held))

    # -- claiming --------------------------------------------------------------------------------

    async def _take_turns(self, *, keep_bell: bool = True) -> bool:
        """Claim for whose turn it is; returns False when nobody was ready."""
        room = await self._wait_for_room()
        if room <= 0:
            return False
        popped = await self._ready.pop(
            min(_TURNS_AT_ONCE, room), keep_bell=keep_bell, avoid=self._accounts.unopened.avoided()
        )
        if not popped.turns:
            return False
        try:
            await self._work_off(popped, room)
        except Exception as exc:  # noqa: BLE001 (of these turns; the next ones are others')
            await self._recover(popped, room, exc)
        return True

    async def _work_off(self, popped: Popped, room: int) -> None:
        """Claim for these turns, and start what may be sent now."""
        most_each = max(1, min(QUANTUM, room // len(popped.turns)))
        accounts = await self._sendable(popped)
        portions = await self._portioner.measure(
            popped, accounts, most_each=most_each, now=asyncio.get_running_loop().time()
        )
        most = portions.most
        claims = await self._claims.take(list(most), most_each, at_most=most) if most else []
        try:
            sendable = await self._hold_back(claims, accounts)
            await self._portioner.settle(portions, claims, sendable, accounts)
        except Exception:
            # Nothing of it was sent; nobody waits for the leases to end.
            self._spawn(self._release(claims))
            raise
        if sendable:
            if popped.probes:
                self._probes |= {
                    claim.message_id for claim in sendable if claim.connector_id in popped.probes
                }
            await self._start(sendable, accounts)

    async def _recover(self, popped: Popped, room: int, error: Exception) -> None:
        """Put turns back that could not be worked off, and find out whose fault it is."""
        if is_outage(error):
            self._outage.warn(error)
            for turn in popped.turns:
                await self._put_back(turn, popped, delay_ms=int(_AWAY_S * 1000))
            await asyncio.sleep(_AWAY_S)
        elif len(popped.turns) > 1:
            log.error("claim.failed", turns=len(popped.turns), exc_info=error)
            for turn in popped.turns:
                alone = Popped([turn], popped.probes & {turn[1]})
                try:
                    await self._work_off(alone, room)
                except Exception as exc:  # noqa: BLE001 (of this turn)
                    await self._recover(alone, room, exc)
        else:
            (turn,) = popped.turns
            log.error(
                "claim.failed", connector_id=ids.encode(ids.CONNECTOR, turn[1]), exc_info=error
            )
            self._accounts.unopened.rest(
                turn[1], f"Its messages could not be claimed ({type(error).__name__})."
            )
            await self._put_back(turn, popped)

    async def _put_back(self, turn: Turn, popped: Popped, *, delay_ms: int = 0) -> None:
        """Leave a turn to whoever can take it."""
        if turn[1] in popped.probes:
            await self._circuits.end_probe(turn[1])
        self._doorbell.ring([turn], delay_ms=delay_ms)

    async def _hold_back(
        self, claims: list[Claim], accounts: Mapping[UUID, Account]
    ) -> list[Claim]:
        """Give back what would overrun its recipient's pace, each until its place; returns the
        rest.
        """
        delays_s = await self._pacer.delays_s(claims, accounts)
        if not delays_s:
            return claims
        self._spawn(
            self._release([claim for claim in claims if claim.message_id in delays_s], delays_s)
        )
        return [claim for claim in claims if claim.message_id not in delays_s]

    async def _wait_for_room(self) -> int:
        """Return how many more sends may start; waits until a quarter is free, or somebody is
        done.
        """
        loop = asyncio.get_running_loop()
        wanted = max(1, self._concurrency // 4)
        while (room := self._shares.room(loop.time())) < wanted and not self._is_stopping:
            self._room.clear()
            try:
                await asyncio.wait_for(self._room.wait(), timeout=SLOW_S)
            except TimeoutError:
                return self._shares.room(loop.time())
        return 0 if self._is_stopping else room

    async def _sendable(self, popped: Popped) -> dict[UUID, Account]:
        """Return the accounts of the connectors that can send now; the others' messages wait."""
        connector_ids = list({connector_id for _, connector_id in popped.turns})
        found = await asyncio.gather(
            *map(self._accounts.get, connector_ids), return_exceptions=True
        )
        known = dict(zip(connector_ids, found, strict=True))
        accounts: dict[UUID, Account] = {}
        for turn in popped.turns:
            account = known[turn[1]]
            if isinstance(account, BaseException):
                self._outage.warn(account)
                await self._put_back(turn, popped, delay_ms=int(_AWAY_S * 1000))
            elif account.is_unopened:
                await self._leave_to_others(turn, popped)
            elif account.provider is None and not account.is_gone:
                await self._ready.hold(turn[1], outcomes.WAITING_HOLD_S)
                self._doorbell.ring([turn], delay_ms=int(outcomes.WAITING_HOLD_S * 1000))
            else:
                accounts[turn[1]] = account
        return accounts

    async def _leave_to_others(self, turn: Turn, popped: Popped) -> None:
        """This worker cannot open the connector: it holds it for nobody."""
        self._has_left_turns = True
        is_avoided = turn[1] in self._accounts.unopened.avoided()
        await self._put_back(turn, popped, delay_ms=0 if is_avoided else _CROWDED_MS)

    async def _start(self, claims: Sequence[Claim], accounts: Mapping[UUID, Account]) -> None:
        now = asyncio.get_running_loop().time()
        for claim in claims:
            self._held[claim.message_id] = claim
            self._shares.start(claim.connector_id, now)
        try:
            mine = await self._claims.mark_in_flight(claims)
        except Exception as exc:  # noqa: BLE001 (whatever it was, nothing was sent)
            # Whether the mark was committed is unknown.
            log.warning("claim.not_marked", error=type(exc).__name__, claims=len(claims))
            self._spawn(self._release(list(claims)))
            return
        for claim in claims:
            if claim.message_id in mine:
                self._spawn(self._send(claim, accounts[claim.connector_id]))
            else:
                self._let_go(claim)

    async def _release(
        self, claims: list[Claim], delays_s: Mapping[UUID, float] | None = None
    ) -> None:
        try:
            await self._release_at_last(claims, delays_s)
        except Exception:
            # Their leases end by themselves, for nobody renews them any more.
            log.exception("claim.not_released", claims=len(claims))
        for claim in claims:
            self._let_go(claim)
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

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _let_go(self, claim: Claim) -> None:
        if self._held.pop(claim.message_id, None) is not None:
            self._shares.end(claim.connector_id)
        self._room.set()

    # -- sending ---------------------------------------------------------------------------------

    async def _send(self, claim: Claim, account: Account) -> None:
        try:
            await self.settle(await self._exchange(claim, account), account)
        except Exception:
            # Its lease ends, and the sweeper says what that means.
            log.exception(
                "attempt.not_recorded", message_id=ids.encode(ids.MESSAGE, claim.message_id)
            )
        finally:
            self._let_go(claim)

    async def settle(self, result: Result, account: Account) -> None:
        """Record what became of a claim, and ring for its message when it is to be tried again."""
        try:
            result = next_step.after_try(result, account, settle_s=self._settle_s)
        except Exception:
            # A route that nobody can read: then the message has no further way.
            log.exception(
                "attempt.route_unreadable",
                message_id=ids.encode(ids.MESSAGE, result.claim.message_id),
            )
            claim = replace(result.claim, route=None)
            result = next_step.after_try(
                replace(result, claim=claim), account, settle_s=self._settle_s
            )
        await self._slow_down(result, account)
        recorded = await self._recorder.record(result)
        if result.retry_in_s is not None and recorded.is_ours:
            turn = (result.claim.lane, result.claim.connector_id)
            self._doorbell.ring([turn], delay_ms=int(result.retry_in_s * 1000) + 1)

    async def _exchange(self, claim: Claim, account: Account) -> Result:
        is_probe = bool(self._probes) and claim.message_id in self._probes
        self._probes.discard(claim.message_id)
        if claim.expires_at is not None and claim.expires_at <= claim.now():
            if is_probe:
                await self._circuits.end_probe(claim.connector_id)
            return outcomes.expired(claim)
        started_at, started = claim.now(), time.perf_counter()
        answer = await ask_provider(claim, account, timeout_s=self._exchange_timeout_s)
        took_s = time.perf_counter() - started
        counts = await self._note(claim, account, answer, took_s, is_probe=is_probe)
        if isinstance(answer, Accepted):
            return outcomes.accepted(claim, answer, started_at, took_s * 1000)
        policy = self._retry_policy.with_own(account.retry)
        return outcomes.failed(claim, answer, policy, started_at, took_s * 1000, counts=counts)

    async def _note(
        self,
        claim: Claim,
        account: Account,
        answer: Accepted | SendError,
        took_s: float,
        *,
        is_probe: bool,
    ) -> bool:
        """Tell whoever slows connectors down; returns whether it was one of the message's tries."""
        now = asyncio.get_running_loop().time()
        try:
            self._shares.heard(claim.connector_id, now, took_s, is_failure=is_failure(answer))
            return await self._circuits.note(claim, account, answer, is_probe=is_probe)
        except Exception:
            # What the provider has said must be recorded all the same.
            log.exception(
                "circuit.failed", connector_id=ids.encode(ids.CONNECTOR, claim.connector_id)
            )
            return True

    async def _slow_down(self, result: Result, account: Account) -> None:
        """A throttled or broken connector waits as a whole, so that no other attempt is burnt."""
        claim = result.claim
        if result.outcome == "broken":
            title = account.provider.title if account.provider is not None else "The provider"
            await self._broken.mark(claim.connector_id, title=title, reason=result.reason)
        if result.hold_s > 0:
            try:
                await self._ready.hold(claim.connector_id, result.hold_s)
            except Exception as exc:  # noqa: BLE001 (what the provider has said must be recorded all the same)
                self._outage.warn(exc)
