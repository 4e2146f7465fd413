"""Liveness and readiness: quick and clear, most of all when something is down."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from backend.ids import new_id
from backend.runtime.embedded import EmbeddedServers
from backend.settings import Settings
from tests.api.accounts import Api
from tests.api.servers import MakeDatabase, checks_of, migrated, server_with, timed_readyz


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Take connections and never say a word: what a stopped process or a lost network looks
    like.
    """
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


async def test_a_living_process_says_so(api: Api) -> None:
    response = await api.client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_ready_when_everything_is_there(api: Api) -> None:
    checks = await checks_of(api.platform)
    # Other tests leave messages that nobody delivers and rows of other months; no worker runs here.
    required = {
        name: checks[name].status
        for name in ("database", "redis", "migrations", "secrets", "clock")
    }
    assert required == dict.fromkeys(required, "ok")
    status, body = await timed_readyz(api.client)
    assert (status, body["status"], body["checks"].keys()) == (200, "ok", checks.keys())


async def test_nothing_of_the_answer_names_a_host_or_a_secret(api: Api) -> None:
    text = (await api.client.get("/readyz")).text
    settings = api.platform.settings
    assert socket.gethostname() not in text
    for place in (settings.require_database_url(), settings.require_redis_url()):
        assert urlsplit(place).path not in text
    assert not [
        item for item in api.platform.heartbeat.fingerprints.current.values() if item in text
    ]


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
async def test_without_redis_it_is_ready_with_a_warning_because_sends_are_accepted(
    settings: Settings, api: Api, url: str
) -> None:
    account = await api.register()
    key = (await api.key(account))["key"]
    async with silent_server() as port:
        address = url.replace("silent", f"redis://127.0.0.1:{port}/0")
        async with server_with(settings, redis_url=SecretStr(address)) as client:
            status, body = await timed_readyz(client)
            assert (status, body["status"]) == (200, "ok")
            assert body["checks"]["redis"]["status"] == "warning"
            assert body["checks"]["database"]["status"] == "ok"
            send = {"to": "sandbox:delivered", "connector": "sandbox", "message": "x"}
            sent = await client.post(
                "/api/v1/messages", json=send, headers={"Authorization": f"Bearer {key}"}
            )
            assert sent.status_code == 202


async def test_not_ready_without_redis_where_sends_are_refused_without_it(
    settings: Settings,
) -> None:
    url = SecretStr("redis://127.0.0.1:1/0")
    async with server_with(settings, redis_url=url, rate_limit_fail_open_secret=False) as client:
        status, body = await timed_readyz(client)
    assert (status, body["checks"]["redis"]["status"]) == (503, "failed")


@pytest.mark.parametrize(
    ("before", "after", "remedy"),
    [
        (
            ("REPLICAOF", "127.0.0.1", "9"),
            ("REPLICAOF", "NO", "ONE"),
            "point REDIS_URL at the primary",
        ),
        (
            ("CONFIG", "SET", "maxmemory", "1"),
            ("CONFIG", "SET", "maxmemory", "0"),
            "raise its maxmemory",
        ),
    ],
)
async def test_a_redis_that_answers_but_takes_no_writes_is_a_warning(
    api: Api, before: tuple[str, ...], after: tuple[str, ...], remedy: str
) -> None:
    redis = api.platform.redis
    await redis.execute_command(*before)  # type: ignore[no-untyped-call]
    try:
        check = (await checks_of(api.platform))["redis"]
    finally:
        await redis.execute_command(*after)  # type: ignore[no-untyped-call]
    assert check.status == "warning"
    assert remedy in check.detail
    assert (await checks_of(api.platform))["redis"].status == "ok"


async def test_a_database_that_answers_but_takes_no_writes_is_not_ready(
    settings: Settings, make_database: MakeDatabase
) -> None:
    url = migrated(make_database)
    name = make_url(url.get_secret_value()).database
    async with await psycopg.AsyncConnection.connect(
        url.get_secret_value(), autocommit=True
    ) as connection:
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with server_with(settings, database_url=url) as client:
        status, body = await timed_readyz(client)
    assert (status, body["checks"]["database"]["status"]) == (503, "failed")
    assert "read-only" in body["checks"]["database"]["detail"]


async def test_a_flood_of_questions_is_asked_of_the_servers_once_a_second(api: Api) -> None:
    async def writes() -> int:
        stats: Any = await api.platform.redis.info("commandstats")
        return int(stats.get("cmdstat_set", {"calls": 0})["calls"])

    health, before = api.platform.new_health(), await writes()
    began = time.monotonic()
    answers = await asyncio.gather(*(health.checks() for _ in range(500)))
    for _ in range(500):
        answers.append(await health.checks())
    seconds = time.monotonic() - began
    assert all(answer["database"].status == "ok" for answer in answers)
    assert await writes() - before <= 5 + seconds


async def test_not_ready_before_the_migrations(
    settings: Settings, servers: EmbeddedServers
) -> None:
    name = f"bare_{new_id().hex}"
    async with await psycopg.AsyncConnection.connect(
        servers.database_url, autocommit=True
    ) as connection:
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
        form = await client.post(
            "/auth/login", data=body, headers={"Origin": "http://messagejs.local"}
        )
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
