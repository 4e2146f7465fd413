"""Servers on databases of their own, and what their health says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from pydantic import SecretStr

from backend.api.app import create_api
from backend.models.migrate import upgrade
from backend.platform import Platform
from backend.services.health.facts import Check
from backend.settings import Settings

MakeDatabase = Callable[[], str]


@asynccontextmanager
async def server_with(settings: Settings, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_api(settings.model_copy(update=changes))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://messagejs.local") as client,
    ):
        yield client


def platform_of(client: httpx.AsyncClient) -> Platform:
    transport: Any = client._transport
    platform: Platform = transport.app.state.platform
    return platform


def migrated(make_database: MakeDatabase) -> SecretStr:
    """Return the URL of a database of its own, with the schema."""
    url = make_database()
    upgrade(url)
    return SecretStr(url)


async def checks_of(platform: Platform) -> dict[str, Check]:
    """Ask now, whatever an answer of the last second says."""
    return await platform.new_health().checks()


async def timed_readyz(client: httpx.AsyncClient) -> tuple[int, dict[str, Any]]:
    """Ask within what a probe may take; a server that is silent stays so."""
    async with asyncio.timeout(20):
        response = await client.get("/readyz")
    return response.status_code, response.json()
