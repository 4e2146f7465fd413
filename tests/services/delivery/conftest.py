"""Delivery tests start with nothing queued: what other tests sent would take the engine's time."""

from __future__ import annotations

import pytest_asyncio

from backend.platform import Platform


@pytest_asyncio.fixture(autouse=True)
async def nothing_queued(platform: Platform) -> None:
    await platform.doorbell.drain()
    async with platform.database.raw.connection() as connection:
        await connection.execute("DELETE FROM send_queue")
    await platform.redis.flushdb()
