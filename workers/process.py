"""One worker process: an event loop in one thread that lives as long as the process."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog

from backend.dispatch.circuits import Circuits
from backend.dispatch.pacing import Pacer
from backend.dispatch.retry import RetryPolicy
from backend.platform import Platform
from backend.process.background import BackgroundTasks, keep_for_good
from backend.queueing import ReadySet
from backend.services.delivery.broken import BrokenConnectors
from backend.services.delivery.circuit import CircuitRows
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.open_connectors import OpenConnectors
from backend.services.delivery.sweeper import Sweeper
from backend.services.delivery.unopened import UnopenedWatch
from backend.services.delivery.watch import Watcher
from backend.services.health.resealing import reseal
from backend.services.receipts.rounds import ReceiptRounds
from backend.services.reporting.rollup_folding import RollupFolder
from backend.services.retention.keeper import Keeper
from backend.services.retention.maintenance import Maintenance
from backend.services.retention.policies import Defaults
from backend.settings import Settings
from workers.event_loop import new_event_loop
from workers.feeding import feed_campaigns, run_on_thread

log = structlog.get_logger()

_current: list[DeliveryProcess] = []
_START_TIMEOUT_S: Final = 30
# How soon a thread that computes (campaigns' texts) gives way to the loop that delivers; Python's
# default is 5 ms.
_GIVE_WAY_S: Final = 0.001


class DeliveryProcess:
    """Owns the loop thread, the platform and the engine; the main thread is RQ's."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.is_stop_requested = False
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="delivery", daemon=True)
        self._background = BackgroundTasks()
        self._platform: Platform | None = None
        self._engine: DeliveryEngine | None = None
        self._connectors: OpenConnectors | None = None

    def start(self) -> None:
        sys.setswitchinterval(_GIVE_WAY_S)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(_START_TIMEOUT_S)
        keep_for_good()
        _current.append(self)

    @property
    def background(self) -> BackgroundTasks:
        """The tasks beside the deliveries, with what is known about their failures."""
        return self._background

    @property
    def unopened_connectors(self) -> int:
        """How many connectors this process cannot open, and leaves to others."""
        return len(self._connectors.unopened) if self._connectors is not None else 0

    def run(self, work: Callable[[DeliveryEngine], Awaitable[None]], *, timeout_s: float) -> None:
        """Run `work` on the loop and wait for it."""

        async def call() -> None:
            if self._engine is not None:
                await work(self._engine)

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(timeout_s)

    def keep_running(self, name: str, task: Callable[[], Awaitable[None]]) -> None:
        """Run `task()` on the loop for as long as the process lives, supervised."""
        self._loop.call_soon_threadsafe(self._background.start, name, task)

    def request_stop(self) -> None:
        """Claim nothing more. Called from a signal handler: returns at once."""
        self.is_stop_requested = True
        if self._engine is not None:
            self._loop.call_soon_threadsafe(self._engine.request_stop)

    def stop(self) -> None:
        """Let sends under way end within the grace, then close everything."""
        if self in _current:
            _current.remove(self)
        grace_s = self._settings.shutdown_grace_s
        asyncio.run_coroutine_threadsafe(self._close(grace_s), self._loop).result(grace_s + 15)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _open(self) -> None:
        settings = self._settings
        platform = await Platform.open(settings, role="worker")
        platform.supervised.append(self._background)
        connectors = OpenConnectors(platform.database, platform.vault, platform.providers)
        platform.on_change.append(connectors.forget)
        self._platform, self._connectors = platform, connectors
        retry_policy = RetryPolicy(
            max_attempts=settings.retry_max_attempts,
            base_s=settings.retry_base_s,
            cap_s=settings.retry_cap_s,
            max_age_s=settings.retry_max_age_s,
        )
        ready = ReadySet(platform.redis)
        broken = BrokenConnectors(platform.database, platform.mail, public_url=settings.public_url)
        self._engine = DeliveryEngine(
            database=platform.database,
            ready=ready,
            doorbell=platform.doorbell,
            connectors=connectors,
            pacer=Pacer(platform.redis),
            circuits=Circuits(
                platform.redis,
                platform.doorbell,
                CircuitRows(platform.database.raw, connectors),
                first_pause_s=settings.circuit_first_pause_s,
                longest_pause_s=settings.circuit_longest_pause_s,
            ),
            broken=broken,
            retry_policy=retry_policy,
            concurrency=settings.delivery_concurrency,
            lease_s=settings.lease_s,
            exchange_timeout_s=settings.provider_timeout_s,
            settle_s=settings.uncertain_settle_s,
        )
        watcher = Watcher(
            platform.database.raw,
            platform.doorbell,
            connectors,
            retry_policy=retry_policy,
            lease_s=settings.lease_s,
            exchange_timeout_s=settings.provider_timeout_s,
            settle_s=settings.uncertain_settle_s,
        )
        sweeper = Sweeper(
            platform.database.raw,
            platform.doorbell,
            settle_s=settings.uncertain_settle_s,
            max_age_s=settings.retry_max_age_s,
        )
        receipt_rounds = ReceiptRounds(
            platform.receipt_applier,
            platform.receipts,
            retention_days=settings.callback_retention_days,
        )
        keeper = Keeper(
            platform.database.raw, Defaults(settings.content_days, settings.retention_days)
        )
        unopened = UnopenedWatch(connectors.unopened, connectors.get_again, ready, broken)
        self._background.start("keep-leases", self._engine.keep_leases)
        self._background.start("sweeper", sweeper.run)
        self._background.start("watcher", watcher.run)
        self._background.start("receipts", receipt_rounds.run)
        self._background.start("rollups", RollupFolder(platform.database.raw).run)
        self._background.start("retention", keeper.run)
        self._background.start("unopened-connectors", unopened.run)
        feeding = partial(feed_campaigns, settings, platform.supervised)
        self._background.start("campaigns", partial(run_on_thread, "campaigns", feeding))
        resealing = partial(reseal, platform.vault, platform.heartbeat.fingerprints)
        maintenance = Maintenance(platform.database.raw, {"maintain-encryption": resealing})
        maintenance.start(self._background)

    async def _close(self, grace_s: float) -> None:
        if self._engine is not None:
            await self._engine.close(grace_s)
        await self._background.aclose()
        if self._connectors is not None:
            await self._connectors.close()
        if self._platform is not None:
            await self._platform.close()


def current() -> DeliveryProcess:
    """Return this process's delivery process; raises RuntimeError outside a worker."""
    if not _current:
        raise RuntimeError("No delivery process runs here; start one with 'messagejs worker'.")
    return _current[-1]
