"""An open platform on the embedded servers, and a fresh tenant for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from backend.platform import Platform
from backend.settings import Settings
from tests.world import World


@pytest_asyncio.fixture(scope="session")
async def platform(settings: Settings) -> AsyncIterator[Platform]:
    platform = await Platform.open(settings)
    yield platform
    await platform.close()


@pytest.fixture
async def world(platform: Platform) -> World:
    return await World.make(platform)
