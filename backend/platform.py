"""What one process holds: database, Redis, secrets, caches and the send path, opened together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from uuid import UUID

import orjson
import redis
import redis.asyncio
import structlog
from redis.asyncio import Redis  # the field `redis` hides the module inside the class

from backend.crypto import Vault
from backend.ledger.accept import AcceptWriter
from backend.models.session import Change, Database
from backend.process.background import BackgroundTasks, TaskState
from backend.provider_types import default_urls
from backend.providers.frame.http import open_http_client
from backend.providers.frame.provider import ProviderContext
from backend.queueing import INVALIDATION_CHANNEL, LANE_COUNT, Doorbell, ReadySet
from backend.services.accounts.mail import PlatformMail
from backend.services.callbacks.body_quota import BodyQuota
from backend.services.callbacks.intake import CallbackIntake
from backend.services.callbacks.store import ReceiptStore
from backend.services.campaigns.parts import CampaignParts
from backend.services.catalog.catalog import Catalog
from backend.services.health.fingerprints import Fingerprints
from backend.services.health.heartbeat import Heartbeat, ProcessRole
from backend.services.health.readiness import ReadinessChecks
from backend.services.keys.key_usage import KeyUsage
from backend.services.limits.rate_limit import RateLimiter
from backend.services.policy.send_path import SendPath
from backend.services.receipts.apply import ReceiptApplier
from backend.services.reporting.quota import count_month
from backend.settings import Settings

log = structlog.get_logger()

_RECONNECT_S: Final = 0.5
_current: list[Platform] = []


@dataclass
class Platform:
    """Made by `open`, ended by `close`. Only the edges see it; services get the parts they use."""

    settings: Settings
    database: Database
    redis: redis.asyncio.Redis
    vault: Vault
    providers: ProviderContext
    doorbell: Doorbell
    catalog: Catalog
    rate_limiter: RateLimiter
    key_usage: KeyUsage
    writer: AcceptWriter
    mail: PlatformMail
    receipts: ReceiptStore
    receipt_applier: ReceiptApplier
    callbacks: CallbackIntake
    send_path: SendPath = field(init=False)
    campaigns: CampaignParts = field(init=False)
    on_change: list[Callable[[set[Change]], None]] = field(default_factory=list)
    background: BackgroundTasks = field(default_factory=BackgroundTasks)
    supervised: list[BackgroundTasks] = field(
        default_factory=list
    )  # of the whole process; a worker adds its own
    heartbeat: Heartbeat = field(init=False)
    health: ReadinessChecks = field(init=False)

    @classmethod
    async def open(
        cls, settings: Settings, *, role: ProcessRole = "web", reports: bool = True
    ) -> Platform:
        """Connect lazily: the process starts even if the database or Redis is unreachable.

        `reports`: this platform speaks for its process; a second platform of a process does not.
        """
        database = Database(settings.require_database_url(), pool_size=settings.database_pool_size)
        client = redis.asyncio.Redis.from_url(
            settings.require_redis_url(),
            socket_timeout=5,
            socket_connect_timeout=2,
            health_check_interval=30,
        )
        doorbell = Doorbell(client, settings.require_redis_url())
        receipts = ReceiptStore(database.raw, BodyQuota(settings.callback_kept_bytes))
        applier = ReceiptApplier(database.raw, doorbell)
        providers = ProviderContext(
            # What slow connectors hold does not count in full (dispatch/shares.py): they must not
            # run out here.
            http=open_http_client(limit=2 * settings.delivery_concurrency),
            base_urls=settings.provider_urls(default_urls()),
            timeout_s=settings.provider_timeout_s,
            allow_private_network=settings.allow_private_network,
            public_url=settings.public_url if settings.api_base_url else None,
            report=receipts.report,
        )
        vault = Vault(*settings.encryption_keys())
        platform = cls(
            settings=settings,
            database=database,
            redis=client,
            vault=vault,
            providers=providers,
            doorbell=doorbell,
            catalog=Catalog(
                database,
                key_pepper=settings.require_key_pepper(),
                default_rate_limit=settings.api_key_rate_limit,
                monthly_quotas=settings.monthly_quotas(),
            ),
            rate_limiter=RateLimiter(
                client,
                window_s=settings.api_key_rate_window // 1000,
                count_month=partial(count_month, database),
                fail_open={
                    "secret": settings.rate_limit_fail_open_secret,
                    "publishable": settings.rate_limit_fail_open_publishable,
                },
            ),
            key_usage=KeyUsage(database.raw),
            writer=AcceptWriter(
                database.raw,
                waiting_limit=settings.accept_queue_limit,
                idempotency_ttl_s=settings.idempotency_ttl_s,
                on_commit=doorbell.ring,
            ),
            mail=PlatformMail(settings, providers),
            receipts=receipts,
            receipt_applier=applier,
            callbacks=CallbackIntake(database, vault, providers, receipts, applier),
        )
        platform.heartbeat = Heartbeat(
            database.raw,
            role=role,
            fingerprints=Fingerprints.of(settings),
            failing=platform.failing_tasks,
        )
        platform.send_path = SendPath(
            database=database,
            vault=vault,
            catalog=platform.catalog,
            rate_limiter=platform.rate_limiter,
            key_usage=platform.key_usage,
            writer=platform.writer,
        )
        platform.campaigns = CampaignParts(
            platform.send_path, platform.mail, public_url=settings.public_url
        )
        platform.health = platform.new_health()
        platform.supervised.append(platform.background)
        database.on_changes = platform.tell_changes
        await database.open()
        platform.background.start("hear-changes", platform._hear_changes)
        platform.background.start("key-usage", platform.key_usage.run)
        if reports:
            platform.background.start("heartbeat", platform.heartbeat.run)
        _current.append(platform)
        return platform

    def new_health(self) -> ReadinessChecks:
        """Return a Health that has not asked anything yet."""
        return ReadinessChecks(
            self.database.raw,
            self.redis,
            self.heartbeat,
            is_redis_needed=not self.settings.rate_limit_fail_open_secret,
        )

    async def close(self) -> None:
        if self in _current:
            _current.remove(self)
        await self.writer.drain()
        await self.receipts.drain()
        await self.receipt_applier.drain()
        await self.mail.aclose()
        await self.doorbell.drain()
        await self.background.aclose()
        await self.health.aclose()
        await self.heartbeat.end()
        await self.providers.http.aclose()
        self.doorbell.close()
        await self.redis.aclose()
        await self.database.close()

    def failing_tasks(self) -> list[TaskState]:
        """Return the background tasks of this process that fail now."""
        return [state for tasks in self.supervised for state in tasks.failing()]

    async def tell_changes(self, changes: set[Change]) -> None:
        """Drop changed rows from the caches here, and through Redis in the other processes."""
        self._forget(changes)
        await self._wake({change.id for change in changes if change.kind == "connector"})
        message = orjson.dumps([[change.kind, change.id] for change in changes])
        try:
            await self.redis.publish(INVALIDATION_CHANNEL, message)
        except redis.RedisError as exc:
            # The others notice when their entries expire.
            log.warning("changes.unreachable", error=type(exc).__name__)

    async def _wake(self, connector_ids: set[UUID]) -> None:
        """A changed connector may be able to send again: its waiting messages continue at once."""
        ready = ReadySet(self.redis)
        for connector_id in connector_ids:
            try:
                await ready.lift_hold(connector_id)
            except redis.RedisError as exc:
                log.warning("hold.unreachable", error=type(exc).__name__)
            self.doorbell.ring([(lane, connector_id) for lane in range(LANE_COUNT)])

    def _forget(self, changes: set[Change]) -> None:
        self.catalog.forget(changes)
        self.callbacks.forget(changes)
        for forget in self.on_change:
            forget(changes)

    async def _hear_changes(self) -> None:
        # A client of its own: its socket waits until something changes.
        url = self.settings.require_redis_url()
        # A Unix socket has no keep-alive, and its connection refuses the option.
        options = {} if url.startswith("unix://") else {"socket_keepalive": True}
        listener = redis.asyncio.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=2, **options
        )
        try:
            await self._listen(listener)
        finally:
            await listener.aclose()

    async def _listen(self, listener: Redis) -> None:
        while True:
            try:
                async with listener.pubsub() as channel:
                    await channel.subscribe(INVALIDATION_CHANNEL)
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._forget(
                                {
                                    Change(kind, UUID(row))
                                    for kind, row in orjson.loads(message["data"])
                                }
                            )
            except (redis.RedisError, OSError) as exc:
                log.debug("changes.unreachable", error=type(exc).__name__)
            await asyncio.sleep(_RECONNECT_S)


def current_platform() -> Platform:
    """Return the platform of this process. Raises RuntimeError before it is open."""
    if not _current:
        raise RuntimeError("The platform is not open; the API's lifespan opens it.")
    return _current[-1]
