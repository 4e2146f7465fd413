"""Watching: messages that were handed over, or may have been, once the wait for a receipt
is over.

Every second, in every worker, under claims: what was not delivered goes on with its next way; what
is uncertain is asked about, where the provider can be asked, outside any transaction; else the
template's `onUncertain` decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from backend import ids
from backend.dispatch.retry import RetryPolicy
from backend.ledger.claims import MOST_WATCHED, Claims, Watched
from backend.ledger.provider_refs import take_provider_id
from backend.ledger.recorder import Recorder
from backend.ledger.results import Result
from backend.models.session import RawPool
from backend.outages import is_outage
from backend.process.rounds import Rounds, log_failures
from backend.providers.frame.errors import SendError, Unavailable
from backend.providers.frame.provider import Accepted
from backend.providers.frame.registry import AnyProvider
from backend.queueing import Doorbell
from backend.services.delivery import next_step, outcomes
from backend.services.delivery.exchange import is_cancelled, outbound
from backend.services.delivery.open_connectors import OpenConnector
from backend.status import Status

log = structlog.get_logger()

_EVERY_S: Final = 1.0
_MOST_ASKED: Final = 50


class OpensConnectors(Protocol):
    async def get(self, connector_id: UUID) -> OpenConnector: ...


class Watcher:
    def __init__(
        self,
        pool: RawPool,
        doorbell: Doorbell,
        connectors: OpensConnectors,
        *,
        retry_policy: RetryPolicy,
        lease_s: float,
        exchange_timeout_s: float,
        settle_s: float,
    ) -> None:
        self._pool = pool
        self._doorbell = doorbell
        self._connectors = connectors
        self._retry_policy = retry_policy
        self._exchange_timeout_s = exchange_timeout_s
        self._settle_s = settle_s
        self._claims = Claims(pool, lease_s=lease_s)
        self._recorder = Recorder(pool, doorbell)
        self._asking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Watch until cancelled; a failed round is logged and the next one tries again."""
        report = log_failures(away="watch.database_away", failed="watch.failed")
        try:
            await Rounds(_EVERY_S, self._round, first_after_s=_EVERY_S, on_error=report).run()
        finally:
            for task in self._asking:
                task.cancel()

    async def _round(self) -> None:
        await self.round()

    async def round(self) -> int:
        """Decide about all whose time has come; returns how many.

        Questions to providers go on afterwards.
        """
        count = 0
        while True:
            batch = await self._claims.watch()
            count += len(batch)
            await asyncio.gather(*(self._decide_guarded(watched) for watched in batch))
            if len(batch) < MOST_WATCHED:
                return count

    async def answered(self) -> None:
        """Wait until every question to a provider is answered and recorded."""
        while self._asking:
            await asyncio.wait(set(self._asking))

    async def _decide_guarded(self, watched: Watched) -> None:
        """One that cannot be decided about keeps its status, and is watched no more."""
        try:
            await self._decide(watched)
        except Exception as exc:
            name = ids.encode(ids.MESSAGE, watched.claim.message_id)
            if is_outage(exc):
                # Its turn comes again when this claim's lease ends.
                log.warning("watch.database_away", error=type(exc).__name__, message_id=name)
                return
            log.exception("watch.undecidable", message_id=name)
            await self._record_guarded(next_step.stop_watching(watched))

    async def _decide(self, watched: Watched) -> None:
        connector = await self._connectors.get(watched.claim.connector_id)
        provider = connector.provider
        if provider is None or not provider.can_be_asked or not next_step.is_open_question(watched):
            await self._record(next_step.after_waiting(watched, self._policy(connector)))
        elif len(self._asking) < _MOST_ASKED:
            self._spawn(self._ask_guarded(watched, connector, provider))
        else:
            await self._record(next_step.ask_later(watched, settle_s=self._settle_s))

    async def _ask(self, watched: Watched, connector: OpenConnector, provider: AnyProvider) -> None:
        claim = watched.claim
        try:
            async with asyncio.timeout(self._exchange_timeout_s):
                sent = await provider.find_sent(outbound(claim))
            if sent is not None and not isinstance(sent, Accepted):
                raise TypeError("The adapter returned no answer.")  # noqa: TRY301
        except (SendError, TimeoutError) as exc:
            log.info(
                "watch.unanswered",
                message_id=str(claim.message_id),
                provider=provider.type,
                reason=str(exc),
            )
            result = next_step.after_no_answer(
                watched, self._policy(connector), settle_s=self._settle_s
            )
        except BaseException as exc:  # an adapter's bug must not end the watching
            if isinstance(exc, asyncio.CancelledError) and is_cancelled():
                raise
            log.exception(
                "watch.adapter_failed", message_id=str(claim.message_id), provider=provider.type
            )
            result = next_step.after_no_answer(
                watched, self._policy(connector), settle_s=self._settle_s
            )
        else:
            result = await self._after_answer(watched, connector, sent)
        await self._record(result)

    async def _ask_guarded(
        self, watched: Watched, connector: OpenConnector, provider: AnyProvider
    ) -> None:
        try:
            await self._ask(watched, connector, provider)
        except Exception as exc:
            # It is asked again when this claim's lease ends.
            if is_outage(exc):
                log.warning("watch.database_away", error=type(exc).__name__)
            else:
                log.exception(
                    "watch.failed", message_id=ids.encode(ids.MESSAGE, watched.claim.message_id)
                )

    async def _record_guarded(self, result: Result) -> None:
        try:
            await self._record(result)
        except Exception:  # the recorder has tried what it can
            log.exception(
                "watch.not_recorded", message_id=ids.encode(ids.MESSAGE, result.claim.message_id)
            )

    async def _after_answer(
        self, watched: Watched, connector: OpenConnector, accepted: Accepted | None
    ) -> Result:
        claim, now = watched.claim, watched.claim.now()
        if accepted is None:
            # Surely not taken: a try like any other that did not get through.
            error = Unavailable("The provider does not have the message; it was not taken.")
            result = replace(
                outcomes.failed(claim, error, self._policy(connector), now, 0.0), is_attempt=False
            )
            if result.status == Status.EXPIRED and claim.step == 0:
                return result
        elif await self._is_a_twins(watched, accepted):
            return next_step.after_waiting(watched, self._policy(connector))
        else:
            result = outcomes.accepted(claim, accepted, now, 0.0)
        return next_step.after_try(
            replace(result, is_attempt=False), connector, settle_s=self._settle_s
        )

    async def _is_a_twins(self, watched: Watched, accepted: Accepted) -> bool:
        if accepted.provider_message_id is None:
            return False
        claim = watched.claim
        async with self._pool.connection() as connection:
            owner = await take_provider_id(
                connection, claim.connector_id, accepted.provider_message_id, claim.message_id
            )
        return owner != claim.message_id

    async def _record(self, result: Result) -> None:
        recorded = await self._recorder.record(result)
        if recorded.is_ours and result.retry_in_s is not None:
            turn = (result.claim.lane, result.claim.connector_id)
            self._doorbell.ring([turn], delay_ms=int(result.retry_in_s * 1000) + 1)

    def _policy(self, connector: OpenConnector) -> RetryPolicy:
        return self._retry_policy.overridden_by(connector.retry)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
