"""What one process changes the others know at once, not when their caches expire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from backend.errors import ConnectorNotActive, InvalidApiKey
from backend.ids import new_id
from backend.models import ApiKey, Connector
from backend.models.session import Change, announce
from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.sending.accept import accept_message
from backend.settings import Settings
from tests.world import World

# Well under the caches' five seconds.
_AT_ONCE_S = 2.0


@pytest_asyncio.fixture
async def elsewhere(settings: Settings, platform: Platform) -> AsyncIterator[Platform]:
    """Another process's platform, which hears of changes."""
    other = await Platform.open(settings)
    heard = asyncio.Event()
    other.on_change.append(lambda _: heard.set())
    async with asyncio.timeout(5):
        while not heard.is_set():  # until its subscription stands
            await platform.tell_changes({Change("template", new_id())})
            await asyncio.sleep(0.05)
    yield other
    await other.close()


async def _until_refused(attempt: Callable[[], Awaitable[object]], error: type[Exception]) -> None:
    async with asyncio.timeout(_AT_ONCE_S):
        while True:
            try:
                await attempt()
            except error:
                return
            await asyncio.sleep(0.02)


async def test_a_revoked_key_is_refused_everywhere(
    world: World, platform: Platform, elsewhere: Platform
) -> None:
    text = await world.key()
    known = await elsewhere.catalog.key(text)
    async with platform.database.transaction() as session:
        key = await session.get_one(ApiKey, known.id)
        key.is_active = False
        announce(session, Change("key", key.id))
    with pytest.raises(InvalidApiKey):
        await platform.catalog.key(text)
    await _until_refused(lambda: elsewhere.catalog.key(text), InvalidApiKey)


async def test_a_connector_switched_off_takes_nothing_anywhere(
    world: World, platform: Platform, elsewhere: Platform
) -> None:
    connector = await world.connector()
    request = SendRequest(to="ada", text="x", connector_id=connector.id)
    caller = Sender(system_access(world.project_id), "live")
    await accept_message(elsewhere.send_path, caller, request)
    async with platform.database.transaction() as session:
        row = await session.get_one(Connector, connector.id)
        row.is_active = False
        announce(session, Change("connector", row.id))
    await _until_refused(
        lambda: accept_message(elsewhere.send_path, caller, request), ConnectorNotActive
    )


async def test_every_background_task_runs(elsewhere: Platform) -> None:
    """One that dies at its start would be missed by nobody until it matters."""
    await asyncio.sleep(0.1)
    assert elsewhere.background.failing() == []
