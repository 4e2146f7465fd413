"""Liveness and readiness: quick and clear, most of all when something is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from backend.api.app import create_api
from backend.ids import new_id
from backend.models import Event
from backend.models.partitions import first_id
from backend.runtime.embedded import EmbeddedServers
from backend.settings import Settings
from tests.api.conftest import Api


@asynccontextmanager
async def server_with(settings: Settings, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_api(settings.model_copy(update=changes))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://messagejs.local") as client,
    ):
        yield client


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Take connections and never say a word: what a stopped process or a lost network looks like."""
    writers = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def timed_readyz(client: httpx.AsyncClient) -> tuple[int, dict[str, Any]]:
    started = time.perf_counter()
    response = await client.get("/readyz")
    assert time.perf_counter() - started < 4
    return response.status_code, response.json()


async def test_a_living_process_says_so(api: Api) -> None:
    response = await api.client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_ready_when_everything_is_there(api: Api) -> None:
    status, body = await timed_readyz(api.client)
    assert (status, body["status"]) == (200, "ok")
    # Other tests write messages of earlier months, which is what the partitions' warning is about.
    required = {name: check["status"] for name, check in body["checks"].items() if name != "partitions"}
    assert required == {"database": "ok", "redis": "ok", "migrations": "ok"}


async def test_rows_in_a_default_partition_are_a_warning(api: Api) -> None:
    old = Event(
        id=first_id(datetime(2001, 1, 1, tzinfo=UTC)),
        project_id=new_id(),
        message_id=new_id(),
        type="message.sent",
        data={},
        created_at=datetime.now(UTC),
    )
    async with api.platform.database.transaction() as session:
        session.add(old)
    try:
        status, body = await timed_readyz(api.client)
    finally:
        async with api.platform.database.transaction() as session:
            await session.delete(old)
    assert (status, body["checks"]["partitions"]["status"]) == (200, "warning")
    assert "events" in body["checks"]["partitions"]["detail"]


@pytest.mark.parametrize("url", ["postgresql://app@127.0.0.1:1/app", "silent"])
async def test_not_ready_without_postgres(settings: Settings, url: str) -> None:
    async with silent_server() as port:
        address = url.replace("silent", f"postgresql://app@127.0.0.1:{port}/app")
        async with server_with(settings, database_url=SecretStr(address)) as client:
            status, body = await timed_readyz(client)
            assert (status, body["status"]) == (503, "unavailable")
            assert body["checks"]["database"]["status"] == "failed"
            assert body["checks"]["redis"]["status"] == "ok"
            assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "silent"])
async def test_not_ready_without_redis(settings: Settings, url: str) -> None:
    async with silent_server() as port:
        address = url.replace("silent", f"redis://127.0.0.1:{port}/0")
        async with server_with(settings, redis_url=SecretStr(address)) as client:
            status, body = await timed_readyz(client)
            assert (status, body["status"]) == (503, "unavailable")
            assert body["checks"]["redis"]["status"] == "failed"
            assert body["checks"]["database"]["status"] == "ok"


async def test_not_ready_before_the_migrations(settings: Settings, servers: EmbeddedServers) -> None:
    name = f"bare_{new_id().hex}"
    async with await psycopg.AsyncConnection.connect(servers.database_url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    url = make_url(servers.database_url).set(database=name).render_as_string(hide_password=False)
    async with server_with(settings, database_url=SecretStr(url)) as client:
        status, body = await timed_readyz(client)
    assert status == 503
    assert body["checks"]["migrations"]["status"] == "failed"
    assert "messagejs migrate" in body["checks"]["migrations"]["detail"]


async def test_a_call_without_postgres_is_a_503_with_retry_after(settings: Settings) -> None:
    url = SecretStr("postgresql://app:hunter2@127.0.0.1:1/app")
    async with server_with(settings, database_url=url) as client:
        body = {"email": "a@example.com", "password": "whatever it is"}
        response = await client.post("/api/v1/auth/login", json=body)
        form = await client.post("/auth/login", data=body, headers={"Origin": "http://messagejs.local"})
    assert (response.status_code, response.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(response.headers["retry-after"]) > 0
    assert "127.0.0.1" not in response.text
    assert "hunter2" not in response.text
    assert form.headers["location"].startswith("/login?error=SERVICE_UNAVAILABLE")


async def test_logging_in_works_without_redis(settings: Settings, api: Api) -> None:
    account = await api.register()
    async with server_with(settings, redis_url=SecretStr("redis://127.0.0.1:1/0")) as client:
        body = {"email": account.email, "password": account.password}
        response = await client.post("/api/v1/auth/login", json=body)
    assert response.status_code == 200
