"""Liveness and readiness: quick and clear, most of all when something is away."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from backend.api.app import create_api
from backend.ids import new_id
from backend.models import Event
from backend.models.migrate import upgrade
from backend.models.partitions import first_id, month_start
from backend.runtime.embedded import EmbeddedServers
from backend.services.platform import Platform
from backend.services.reporting.facts import Check, clock_check
from backend.services.reporting.health import Health
from backend.services.sending.accept import Caller, SendRequest, accept_message
from backend.settings import Settings
from tests.api.conftest import Api
from tests.databases import database_maker
from tests.world import World

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


def event_of(instant: datetime) -> Event:
    return Event(
        id=first_id(instant),
        project_id=new_id(),
        message_id=new_id(),
        type="message.sent",
        data={},
        created_at=datetime.now(UTC),
    )


@pytest.fixture(scope="module")
def make_database(servers: EmbeddedServers) -> Iterator[MakeDatabase]:
    with database_maker(servers.database_url) as make:
        yield make


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


async def checks_of(platform: Platform) -> dict[str, Check]:
    """Ask now, whatever an answer of the last second says."""
    return await Health(platform).checks()


async def test_ready_when_everything_is_there(api: Api) -> None:
    checks = await checks_of(api.platform)
    # Other tests leave messages that nobody delivers and rows of other months; no worker runs here.
    required = {name: checks[name].status for name in ("database", "redis", "migrations", "secrets", "clock")}
    assert required == dict.fromkeys(required, "ok")
    status, body = await timed_readyz(api.client)
    assert (status, body["status"], body["checks"].keys()) == (200, "ok", checks.keys())


async def test_nothing_of_the_answer_names_a_host_or_a_secret(api: Api) -> None:
    text = (await api.client.get("/readyz")).text
    settings = api.platform.settings
    assert socket.gethostname() not in text
    for place in (settings.require_database_url(), settings.require_redis_url()):
        assert urlsplit(place).path not in text
    assert not [one for one in api.platform.heartbeat.fingerprints.current.values() if one in text]


async def test_rows_in_a_default_partition_are_a_warning(settings: Settings, make_database: MakeDatabase) -> None:
    async with server_with(settings, database_url=migrated(make_database)) as client:
        platform = platform_of(client)
        async with platform.database.transaction() as session:
            session.add(event_of(datetime(2001, 1, 1, tzinfo=UTC)))
        check = (await checks_of(platform))["partitions"]
        assert check.status == "warning"
        assert "events" in check.detail


async def test_too_few_months_ahead_are_a_warning(settings: Settings, make_database: MakeDatabase) -> None:
    url = migrated(make_database)
    async with server_with(settings, database_url=url) as client:
        platform = platform_of(client)
        assert (await checks_of(platform))["partitions"].status == "ok"
        async with platform.database.raw.connection() as connection:
            await connection.execute(f"DROP TABLE attempts_p{month_start(datetime.now(UTC), 2):%Y%m}")
        status, body = await timed_readyz(client)
    assert (status, body["checks"]["partitions"]["status"]) == (200, "warning")
    assert "for 1 months ahead" in body["checks"]["partitions"]["detail"]


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
            sent = await client.post("/api/v1/messages", json=send, headers={"Authorization": f"Bearer {key}"})
            assert sent.status_code == 202


async def test_not_ready_without_redis_where_sends_are_refused_without_it(settings: Settings) -> None:
    url = SecretStr("redis://127.0.0.1:1/0")
    async with server_with(settings, redis_url=url, rate_limit_fail_open_secret=False) as client:
        status, body = await timed_readyz(client)
    assert (status, body["checks"]["redis"]["status"]) == (503, "failed")


@pytest.mark.parametrize(
    ("before", "after", "remedy"),
    [
        (("REPLICAOF", "127.0.0.1", "9"), ("REPLICAOF", "NO", "ONE"), "point REDIS_URL at the primary"),
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "raise its maxmemory"),
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
    async with await psycopg.AsyncConnection.connect(url.get_secret_value(), autocommit=True) as connection:
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with server_with(settings, database_url=url) as client:
        status, body = await timed_readyz(client)
    assert (status, body["checks"]["database"]["status"]) == (503, "failed")
    assert "read-only" in body["checks"]["database"]["detail"]


async def test_a_flood_of_questions_is_asked_of_the_servers_once_a_second(api: Api) -> None:
    async def writes() -> int:
        stats: Any = await api.platform.redis.info("commandstats")
        return int(stats.get("cmdstat_set", {"calls": 0})["calls"])

    health, before = Health(api.platform), await writes()
    began = time.monotonic()
    answers = await asyncio.gather(*(health.checks() for _ in range(500)))
    for _ in range(500):
        answers.append(await health.checks())
    seconds = time.monotonic() - began
    assert all(answer["database"].status == "ok" for answer in answers)
    assert await writes() - before <= 5 + seconds


async def test_processes_and_what_fails_in_them_are_known_everywhere(
    settings: Settings, make_database: MakeDatabase
) -> None:
    async with server_with(settings, database_url=migrated(make_database)) as client:
        here = platform_of(client)
        checks = await checks_of(here)
        assert checks["workers"].status == "warning"
        assert checks["workers"].detail.startswith("1 web and 0 worker processes run")
        worker = await Platform.open(here.settings, role="worker")
        worker.background.start("breaks", _break)
        await _until(worker.failing_tasks)
        async with worker.database.raw.connection() as connection:
            await worker.heartbeat.beat(connection)
        checks = await checks_of(here)
        assert checks["workers"] == Check("ok", "1 web and 1 worker processes run.")
        assert checks["background"].status == "warning"
        assert "worker: breaks (ZeroDivisionError)" in checks["background"].detail
        await worker.close()
        checks = await checks_of(here)
        assert (checks["workers"].status, checks["background"].status) == ("warning", "ok")


async def test_a_process_that_says_nothing_any_more_does_not_count(
    settings: Settings, make_database: MakeDatabase
) -> None:
    async with server_with(settings, database_url=migrated(make_database)) as client:
        here = platform_of(client)
        worker = await Platform.open(here.settings, role="worker")
        await worker.background.aclose()
        async with here.database.raw.connection() as connection:
            await worker.heartbeat.beat(connection)
            await connection.execute(
                "UPDATE processes SET beat_at = now() - interval '70 seconds' WHERE role = 'worker'"
            )
        detail = (await checks_of(here))["workers"].detail
        assert detail.startswith("1 web and 0 worker processes run; the last was heard 7")
        await worker.close()


@pytest.mark.parametrize(
    ("state", "seconds", "connector", "status"),
    [
        (0, 300, "is_active = is_active", "warning"),
        (0, 10, "is_active = is_active", "ok"),
        (0, -300, "is_active = is_active", "ok"),  # due later
        (0, 300, "is_active = false", "ok"),  # known to wait
        (1, 300, "is_active = is_active", "warning"),  # a lease that nobody frees
    ],
)
async def test_the_oldest_message_that_is_due_is_known(
    settings: Settings, make_database: MakeDatabase, state: int, seconds: int, connector: str, status: str
) -> None:
    async with server_with(settings, database_url=migrated(make_database)) as client:
        platform = platform_of(client)
        world = await World.make(platform)
        box = await world.connector()
        await accept_message(
            platform, Caller(world.project_id, "live"), SendRequest(to="ada", text="x", connector_id=box.id)
        )
        async with platform.database.raw.connection() as connection:
            await connection.execute(f"UPDATE connectors SET {connector}")
            await connection.execute(
                "UPDATE send_queue SET state = %(state)s, due_at = now() - make_interval(secs => %(seconds)s),"
                " lease_until = now() - make_interval(secs => %(seconds)s)",
                {"state": state, "seconds": seconds},
            )
        check = (await checks_of(platform))["queue"]
    assert check.status == status
    assert ("has waited for 30" in check.detail) is (status == "warning")


@pytest.mark.parametrize(("name", "value"), [("encryption_key", "ab" * 32), ("key_pepper", "p" * 32)])
async def test_a_process_with_another_secret_is_not_ready(
    settings: Settings, make_database: MakeDatabase, name: str, value: str
) -> None:
    url = migrated(make_database)
    async with server_with(settings, database_url=url) as client:
        await _until_settled(platform_of(client))
        async with server_with(settings, database_url=url, **{name: SecretStr(value)}) as other:
            status, body = await timed_readyz(other)
            assert (status, body["checks"]["secrets"]["status"]) == (503, "failed")
            assert name.upper() in body["checks"]["secrets"]["detail"]
        assert (await timed_readyz(client))[0] == 200


async def test_web_processes_with_different_jwt_secrets_are_a_warning(
    settings: Settings, make_database: MakeDatabase
) -> None:
    url = migrated(make_database)
    async with (
        server_with(settings, database_url=url) as client,
        server_with(settings, database_url=url, jwt_secret=SecretStr("j" * 32)) as other,
    ):
        await timed_readyz(client)
        status, body = await timed_readyz(other)
    assert (status, body["checks"]["secrets"]["status"]) == (200, "warning")
    assert "JWT_SECRET" in body["checks"]["secrets"]["detail"]


@pytest.mark.parametrize(
    ("off_s", "status"), [(0.0, "ok"), (-20.0, "warning"), (60.0, "warning"), (10_540_800.0, "failed")]
)
def test_a_clock_that_is_off_is_told(off_s: float, status: str) -> None:
    check = clock_check(there=1_000_000_000.0 + off_s, asked_at=999_999_999.9, answered_at=1_000_000_000.1)
    assert check.status == status


@pytest.mark.parametrize(
    ("revision", "oldest_code", "status", "text"),
    [
        ("9999", "0016", 200, "newer than this version's"),
        ("9999", "9998", 503, "Start the newer MessageJS version"),
        ("0014", None, 503, "run 'messagejs migrate'"),
    ],
)
async def test_a_newer_schema_is_fine_when_it_says_that_this_code_can_run_on_it(
    settings: Settings, make_database: MakeDatabase, revision: str, oldest_code: str | None, status: int, text: str
) -> None:
    url = migrated(make_database)
    async with await psycopg.AsyncConnection.connect(url.get_secret_value(), autocommit=True) as connection:
        await connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))
        if oldest_code is not None:
            await connection.execute("UPDATE schema_compat SET oldest_code = %s", (oldest_code,))
    async with server_with(settings, database_url=url) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == status
    assert text in answer.json()["checks"]["migrations"]["detail"]


async def _break() -> None:
    _ = 1 / 0


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def _until_settled(platform: Platform) -> None:
    async with asyncio.timeout(10), platform.database.raw.connection() as connection:
        while (await (await connection.execute("SELECT count(*) FROM secret_fingerprints")).fetchone()) != (2,):
            await asyncio.sleep(0.02)


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
