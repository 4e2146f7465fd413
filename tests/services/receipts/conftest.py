"""Receipt tests start with no receipts waiting and nothing queued: rounds would take what other
tests left.
"""

from __future__ import annotations

import pytest
import pytest_asyncio

from backend.ledger.recorder import Recorder
from backend.models import Connector
from backend.platform import Platform
from tests.world import World


@pytest_asyncio.fixture(autouse=True)
async def nothing_waiting(platform: Platform) -> None:
    await platform.doorbell.drain()
    async with platform.database.raw.connection() as connection:
        await connection.execute("DELETE FROM pending_receipts")
        await connection.execute("DELETE FROM send_queue")
    await platform.redis.flushdb()


@pytest.fixture
async def box(world: World) -> Connector:
    return await world.connector()


@pytest.fixture
def recorder(platform: Platform) -> Recorder:
    return Recorder(platform.database.raw, platform.doorbell)
