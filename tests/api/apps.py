"""Another server on the same database, with settings of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.api.app import create_api
from backend.models import User
from backend.settings import Settings
from tests.api.accounts import Account, Api


@asynccontextmanager
async def another_api(settings: Settings, **changes: Any) -> AsyncIterator[Api]:
    app = create_api(settings.model_copy(update=changes))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://messagejs.local") as client,
    ):
        yield Api(app, client)


async def make_admin(api: Api, account: Account, *, is_admin: bool = True) -> None:
    async with api.platform.database.transaction() as session:
        (await user_of(session, account)).is_platform_admin = is_admin


async def user_of(session: AsyncSession, account: Account) -> User:
    user_id = ids.decode(ids.USER, account.user_id)
    assert user_id is not None
    user = await User.find(session, user_id)
    assert user is not None
    return user
