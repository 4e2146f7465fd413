"""What readiness knows about an installation: processes, queue, secrets, clocks, partitions,
schema.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from pydantic import SecretStr

from backend.ids import new_id
from backend.models import Event
from backend.models.partitions import first_id, month_start
from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.health.facts import Check, clock_check
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.sending.accept import accept_message
from backend.settings import Settings
from tests.api.servers import (
    MakeDatabase,
    checks_of,
    migrated,
    platform_of,
    server_with,
    timed_readyz,
)
from tests.world import World


def event_of(instant: datetime) -> Event:
    return Event(
        id=first_id(instant),
        project_id=new_id(),
        message_id=new_id(),
        type="message.sent",
        data={},
        created_at=datetime.now(UTC),
    )


async def test_rows_in_a_default_partition_are_a_warning(
    settings: Settings, make_database: MakeDatabase
) -> None:
    async with server_with(settings, database_url=migrated(make_database)) as client:
        platform = platform_of(client)
        async with platform.database.transaction() as session:
            session.add(event_of(datetime(2001, 1, 1, tzinfo=UTC)))
        check = (await checks_of(platform))["partitions"]
        assert check.status == "warning"
        assert "events" in check.detail


async def test_too_few_months_ahead_are_a_warning(
    settings: Settings, make_database: MakeDatabase
) -> None:
    url = migrated(make_database)
    async with server_with(settings, database_url=url) as client:
        platform = platform_of(client)
        assert (await checks_of(platform))["partitions"].status == "ok"
        async with platform.database.raw.connection() as connection:
            await connection.execute(
                f"DROP TABLE attempts_p{month_start(datetime.now(UTC), 2):%Y%m}"
            )
        status, body = await timed_readyz(client)
    assert (status, body["checks"]["partitions"]["status"]) == (200, "warning")
    assert "for 1 months ahead" in body["checks"]["partitions"]["detail"]


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


async def test_a_process_that_has_gone_silent_does_not_count(
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
        assert detail.startswith("1 web and 0 worker processes run; the last one was heard 7")
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
    settings: Settings,
    make_database: MakeDatabase,
    state: int,
    seconds: int,
    connector: str,
    status: str,
) -> None:
    async with server_with(settings, database_url=migrated(make_database)) as client:
        platform = platform_of(client)
        world = await World.make(platform)
        box = await world.connector()
        await accept_message(
            platform.send_path,
            Sender(system_access(world.project_id), "live"),
            SendRequest(to="ada", text="x", connector_id=box.id),
        )
        async with platform.database.raw.connection() as connection:
            await connection.execute(f"UPDATE connectors SET {connector}")
            await connection.execute(
                "UPDATE send_queue SET state = %(state)s, due_at = now() - make_interval(secs =>"
                " %(seconds)s), lease_until = now() - make_interval(secs => %(seconds)s)",
                {"state": state, "seconds": seconds},
            )
        check = (await checks_of(platform))["queue"]
    assert check.status == status
    assert ("has waited for 30" in check.detail) is (status == "warning")


@pytest.mark.parametrize(
    ("name", "value"), [("encryption_key", "ab" * 32), ("key_pepper", "p" * 32)]
)
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


async def test_connectors_that_no_key_decrypts_are_a_warning(
    settings: Settings, make_database: MakeDatabase
) -> None:
    url = migrated(make_database)
    old, new = SecretStr("ab" * 32), SecretStr("cd" * 32)
    async with server_with(settings, database_url=url, encryption_key=old) as client:
        await _until_settled(platform_of(client))
        world = await World.make(platform_of(client))
        await world.connector()
    rotated = {"encryption_key": new, "encryption_key_previous": old}
    async with server_with(settings, database_url=url, **rotated) as client:
        await _until_settled(platform_of(client))
        assert (await checks_of(platform_of(client)))["secrets"].status == "ok"
    async with server_with(settings, database_url=url, encryption_key=new) as client:
        status, body = await timed_readyz(client)
        assert (status, body["checks"]["secrets"]["status"]) == (200, "warning")
        assert "1 connector is" in body["checks"]["secrets"]["detail"]
        assert "ENCRYPTION_KEY_PREVIOUS" in body["checks"]["secrets"]["detail"]


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
    ("off_s", "status"),
    [(0.0, "ok"), (-20.0, "warning"), (60.0, "warning"), (10_540_800.0, "failed")],
)
def test_a_clock_that_is_off_is_reported(off_s: float, status: str) -> None:
    check = clock_check(
        there=1_000_000_000.0 + off_s, asked_at=999_999_999.9, answered_at=1_000_000_000.1
    )
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
    settings: Settings,
    make_database: MakeDatabase,
    revision: str,
    oldest_code: str | None,
    status: int,
    text: str,
) -> None:
    url = migrated(make_database)
    async with await psycopg.AsyncConnection.connect(
        url.get_secret_value(), autocommit=True
    ) as connection:
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
        while (
            await (await connection.execute("SELECT count(*) FROM secret_fingerprints")).fetchone()
        ) != (2,):
            await asyncio.sleep(0.02)
