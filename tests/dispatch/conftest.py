"""A real Valkey without anything in it, and a second queue's parts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis.asyncio

from backend.dispatch.circuits import Circuits
from backend.dispatch.pacing import Pacer
from backend.queueing import Doorbell, ReadySet
from backend.settings import Settings
from tests.dispatch.queues import PARCELS, Carriers


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(settings.require_redis_url())
    await client.flushdb()
    yield client
    await client.flushdb()
    await client.aclose()


@pytest_asyncio.fixture
async def doorbell(client: redis.asyncio.Redis, settings: Settings) -> AsyncIterator[Doorbell]:
    doorbell = Doorbell(client, settings.require_redis_url(), PARCELS)
    yield doorbell
    await doorbell.drain()
    doorbell.close()


@pytest.fixture
def ready(client: redis.asyncio.Redis) -> ReadySet:
    return ReadySet(client, PARCELS)


@pytest.fixture
def pacer(client: redis.asyncio.Redis) -> Pacer:
    return Pacer(client, PARCELS)


@pytest.fixture
def carriers() -> Carriers:
    return Carriers()


@pytest.fixture
def circuits(client: redis.asyncio.Redis, doorbell: Doorbell, carriers: Carriers) -> Circuits:
    return Circuits(
        client, doorbell, carriers, first_pause_s=0.05, longest_pause_s=0.2, queue=PARCELS
    )
