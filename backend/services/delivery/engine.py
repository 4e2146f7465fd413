"""Step 7: the delivery engine of one worker process. At-least-once up to the write to the provider,
never twice after it: a send cut off in the middle is uncertain, not repeated.

It lives on one long event loop. RQ jobs lend it time to claim (`drain_slice`); sends, recording and
lease renewal go on between the slices.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import psycopg
import redis
import structlog

from backend import ids
from backend.models import Connector
from backend.models.session import Change, Database, announce
from backend.providers._base import OutboundMessage, ProviderTemplate
from backend.providers._errors import OutcomeUnknown, Rejected, SendError
from backend.queueing import Doorbell, ReadySet, Turn
from backend.services.delivery import outcomes
from backend.services.delivery.accounts import Account, Accounts
from backend.services.delivery.claims import Claim, Claims
from backend.services.delivery.outcomes import Result, RetryPolicy
from backend.services.delivery.recorder import Recorder

log = structlog.get_logger()

# Messages of one connector before it is the next one's turn: small enough to be fair between
# tenants, large enough that a claim statement is worth its round trip.
QUANTUM: Final = 100
_TURNS_AT_ONCE: Final = 16
_LINGER_S: Final = 0.1
_POLL_S: Final = 0.01
_AWAY_S: Final = 0.25


class DeliveryEngine:
    def __init__(
        self,
        *,
        database: Database,
        ready: ReadySet,
        doorbell: Doorbell,
        accounts: Accounts,
        retry_policy: RetryPolicy,
        concurrency: int,
        lease_s: float,
        exchange_timeout_s: float,
    ) -> None:
        self._database = database
        self._ready = ready
        self._doorbell = doorbell
        self._accounts = accounts
        self._retry_policy = retry_policy
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._exchange_timeout_s = exchange_timeout_s
        self._claims = Claims(database.raw, lease_s=lease_s)
        self._recorder = Recorder(database.raw)
        self._held: dict[UUID, Claim] = {}  # every claim whose outcome is not recorded yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._is_stopping = False

    # -- what RQ calls ---------------------------------------------------------------------------

    async def drain_slice(self, seconds: float) -> None:
        """Claim and start sends until nothing is due for a moment, or `seconds` are over."""
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
            except psycopg.OperationalError as exc:
                log.warning("lease.database_away", error=type(exc).__name__, claims=len(held))

    # -- claiming --------------------------------------------------------------------------------

    async def _take_turns(self, *, keep_bell: bool = True) -> bool:
        """Claim for whose turn it is; returns False when nobody was ready."""
        room = await self._wait_for_room()
        if room <= 0:
            return False
        most_each = min(QUANTUM, room)
        turns = await self._ready.pop(max(1, min(_TURNS_AT_ONCE, room // most_each)), keep_bell=keep_bell)
        if not turns:
            return False
        try:
            accounts = await self._sendable(turns)
            sendable = [turn for turn in turns if turn[1] in accounts]
            claims = await self._claims.take(sendable, most_each) if sendable else []
        except psycopg.OperationalError as exc:
            log.warning("claim.database_away", error=type(exc).__name__)
            self._doorbell.ring(turns, delay_ms=int(_AWAY_S * 1000))
            await asyncio.sleep(_AWAY_S)
            return True
        counts: dict[Turn, int] = {}
        for claim in claims:
            turn = (claim.lane, claim.connector_id)
            counts[turn] = counts.get(turn, 0) + 1
        # Whoever filled their quantum has more, and goes to the back of the line.
        self._doorbell.ring([turn for turn, count in counts.items() if count >= most_each])
        if claims:
            await self._start(claims, accounts)
        return True

    async def _wait_for_room(self) -> int:
        """Return how many more sends may start; waits until a quarter is free, or somebody is done."""
        wanted = max(1, self._concurrency // 4)
        while (room := self._concurrency - len(self._held)) < wanted and not self._is_stopping:
            self._room.clear()
            try:
                await asyncio.wait_for(self._room.wait(), timeout=1.0)
            except TimeoutError:
                return self._concurrency - len(self._held)
        return 0 if self._is_stopping else room

    async def _sendable(self, turns: Sequence[Turn]) -> dict[UUID, Account]:
        """Return the accounts of the connectors that can send now; the others' messages wait."""
        accounts: dict[UUID, Account] = {}
        for turn in turns:
            account = await self._accounts.get(turn[1])
            if account.provider is None and not account.is_gone:
                await self._ready.hold(turn[1], outcomes.WAITING_HOLD_S)
                self._doorbell.ring([turn], delay_ms=int(outcomes.WAITING_HOLD_S * 1000))
            else:
                accounts[turn[1]] = account
        return accounts

    async def _start(self, claims: Sequence[Claim], accounts: Mapping[UUID, Account]) -> None:
        for claim in claims:
            self._held[claim.message_id] = claim
        try:
            mine = await self._claims.mark_in_flight(claims)
        except psycopg.OperationalError as exc:
            # Whether the mark was committed is unknown, but surely nothing was sent.
            log.warning("claim.database_away", error=type(exc).__name__, claims=len(claims))
            self._spawn(self._release(list(claims)))
            return
        for claim in claims:
            if claim.message_id in mine:
                self._spawn(self._send(claim, accounts[claim.connector_id]))
            else:
                self._let_go(claim)

    async def _release(self, claims: list[Claim]) -> None:
        while True:
            try:
                await self._claims.release(claims)
                break
            except psycopg.OperationalError:
                await asyncio.sleep(_AWAY_S)
        for claim in claims:
            self._let_go(claim)
        self._doorbell.ring({(claim.lane, claim.connector_id) for claim in claims})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _let_go(self, claim: Claim) -> None:
        self._held.pop(claim.message_id, None)
        self._room.set()

    # -- sending ---------------------------------------------------------------------------------

    async def _send(self, claim: Claim, account: Account) -> None:
        try:
            result = await self._exchange(claim, account)
            await self._slow_down(claim, result)
            recorded = await self._recorder.record(result)
            if result.retry_in_s is not None and recorded.is_ours:
                self._doorbell.ring([(claim.lane, claim.connector_id)], delay_ms=int(result.retry_in_s * 1000) + 1)
        finally:
            self._let_go(claim)

    async def _exchange(self, claim: Claim, account: Account) -> Result:
        if claim.expires_at is not None and claim.expires_at <= datetime.now(UTC):
            return outcomes.expired(claim)
        started_at, started = datetime.now(UTC), time.perf_counter()
        provider = account.provider
        if provider is None:
            error: SendError = Rejected(account.reason, code="CONNECTOR_GONE")
            return outcomes.failed(claim, error, self._retry_policy, started_at, 0.0)
        try:
            async with asyncio.timeout(self._exchange_timeout_s):
                answer = await provider.send(_outbound(claim))
        except SendError as exc:
            error = exc
        except TimeoutError as exc:
            error = OutcomeUnknown(f"No answer from {provider.title} within {self._exchange_timeout_s:g} s.")
            error.__cause__ = exc
        except asyncio.CancelledError:
            # The process stops before the provider answered.
            error = OutcomeUnknown("The worker was stopped while the provider was still answering.")
        except Exception as exc:  # an adapter's bug: the request may have gone out
            log.exception("attempt.adapter_failed", provider=provider.type, message_id=str(claim.message_id))
            error = OutcomeUnknown(f"The {provider.title} adapter failed: {type(exc).__name__}.")
            error.__cause__ = exc
        else:
            return outcomes.accepted(claim, answer, started_at, _since_ms(started))
        return outcomes.failed(claim, error, self._retry_policy, started_at, _since_ms(started))

    async def _slow_down(self, claim: Claim, result: Result) -> None:
        """A throttled or broken connector waits as a whole, so that no other attempt is burnt."""
        if result.outcome not in {"throttled", "broken"} or result.retry_in_s is None:
            return
        if result.outcome == "broken":
            await self._mark_broken(claim, result.reason)
        if not result.recipient_only:
            try:
                await self._ready.hold(claim.connector_id, result.retry_in_s)
            except redis.RedisError as exc:
                log.warning("hold.unreachable", error=type(exc).__name__)

    async def _mark_broken(self, claim: Claim, reason: str) -> None:
        try:
            async with self._database.transaction() as session:
                connector = await Connector.find(session, claim.project_id, claim.connector_id)
                if connector is None or connector.broken_at is not None:
                    return
                connector.broken_at = datetime.now(UTC)
                connector.broken_reason = reason
                announce(session, Change("connector", connector.id))
            log.warning("connector.broken", connector_id=str(claim.connector_id), reason=reason)
        except Exception as exc:  # noqa: BLE001 (the attempt's outcome must be recorded all the same)
            log.warning("connector.mark_failed", error=type(exc).__name__)


def _outbound(claim: Claim) -> OutboundMessage:
    content = claim.content
    template = content.get("template")
    return OutboundMessage(
        id=ids.encode(ids.MESSAGE, claim.message_id),
        to=claim.recipient,
        text=content["text"],
        subject=content.get("subject"),
        html=content.get("html"),
        template=ProviderTemplate(template["name"], template["language"], tuple(template["parameters"]))
        if template
        else None,
    )


def _since_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1000
