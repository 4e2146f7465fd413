"""Delivery tests start with nothing queued: what other tests sent would take the engine's time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from backend.platform import Platform
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.open_connectors import OpenConnectors
from backend.services.delivery.watch import Watcher
from tests.providers.fakes import FakeTelegram, FakeTwilio
from tests.services.delivery import hostile
from tests.services.delivery.neighbours import (
    TOKEN,
    Workers,
)
from tests.services.delivery.routed import POLICY
from tests.world import World, make_engine


@pytest_asyncio.fixture(autouse=True)
async def nothing_queued(platform: Platform) -> None:
    await platform.doorbell.drain()
    async with platform.database.raw.connection() as connection:
        await connection.execute("DELETE FROM send_queue")
    await platform.redis.flushdb()


@pytest.fixture
def hostile_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with hostile.installed(tmp_path, monkeypatch):
        yield


@pytest_asyncio.fixture
async def workers(platform: Platform) -> AsyncIterator[Workers]:
    honest = await World.make(platform)
    connector = await honest.connector("telegram", TOKEN)
    async with FakeTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        connectors = OpenConnectors(platform.database, platform.vault, platform.providers)
        watcher = Watcher(
            platform.database.raw,
            platform.doorbell,
            connectors,
            retry_policy=engine._retry_policy,
            lease_s=5,
            exchange_timeout_s=2,
            settle_s=0.05,
        )
        yield Workers(platform, engine, watcher, telegram, honest, connector)
        await watcher.answered()
        await engine.close(5)
        await connectors.close()


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as fake:
        yield fake


@pytest_asyncio.fixture
async def twilio() -> AsyncIterator[FakeTwilio]:
    async with FakeTwilio() as fake:
        yield fake


@pytest_asyncio.fixture
async def engine(
    platform: Platform, telegram: FakeTelegram, twilio: FakeTwilio
) -> AsyncIterator[DeliveryEngine]:
    urls = {"telegram": telegram.base_url, "twilio": twilio.base_url}
    engine = make_engine(platform, base_urls=urls, retry_policy=POLICY)
    yield engine
    await engine.close(2)
