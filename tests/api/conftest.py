"""The API as clients see it, on the embedded servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from backend.api.app import create_api
from backend.settings import Settings
from tests.api.accounts import Account, Api, client_of
from tests.api.apps import make_admin
from tests.api.sender import Sender, make_sender


@pytest_asyncio.fixture(scope="session")
async def api(settings: Settings) -> AsyncIterator[Api]:
    app = create_api(settings)
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield Api(app, client)


@pytest_asyncio.fixture(scope="session")
async def ada(api: Api) -> Account:
    """A user for tests that only read, or that make what they change."""
    return await api.register(name="Ada Lovelace")


@pytest_asyncio.fixture(scope="module")
async def admin(api: Api, ada: Account) -> Account:
    """A user who may call everything; `ada`, who registered first, is another administrator."""
    account = await api.register()
    await make_admin(api, account)
    return account


@pytest_asyncio.fixture
async def sender(api: Api) -> Sender:
    return await make_sender(api)
