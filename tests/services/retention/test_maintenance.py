"""What is done every minute: each step on its own, whatever another one does, and what must not be
cleared yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest_asyncio
from pydantic import SecretStr

from backend.ids import new_id
from backend.models import UsedToken
from backend.models.migrate import upgrade
from backend.models.partitions import MONTHS_AHEAD, first_id, month_start, months_made
from backend.platform import Platform
from backend.process.advisory_locks import AdvisoryLock, try_hold
from backend.services.retention.maintenance import STEPS, Maintenance, keep_partitions
from backend.settings import Settings
from tests.world import World


@pytest_asyncio.fixture
async def apart(settings: Settings, make_database: Callable[[], str]) -> AsyncIterator[Platform]:
    """A platform on a database of its own, where partitions may be missing."""
    url = make_database()
    upgrade(url)
    platform = await Platform.open(settings.model_copy(update={"database_url": SecretStr(url)}))
    yield platform
    await platform.close()


async def _insert_event(connection: psycopg.AsyncConnection[Any], instant: datetime) -> str:
    """Return the partition that took the row."""
    row = await (
        await connection.execute(
            "INSERT INTO events (id, project_id, message_id, type, data, created_at)"
            " VALUES (%s, %s, %s, 'message.sent', '{}', now()) RETURNING tableoid::regclass::text",
            (first_id(instant), new_id(), new_id()),
        )
    ).fetchone()
    assert row is not None
    return str(row[0])


async def test_a_used_token_is_forgotten_when_no_clock_can_take_it_for_valid(
    platform: Platform, world: World
) -> None:
    now = datetime.now(UTC)
    # A web server whose clock is behind still takes a token that the database knows to have
    # expired.
    ages = {
        "long-expired": timedelta(hours=-2),
        "just-expired": timedelta(minutes=-30),
        "valid": timedelta(minutes=5),
    }
    async with platform.database.transaction() as session:
        for jti, age in ages.items():
            session.add(
                UsedToken(
                    project_id=world.project_id, jti=jti, message_id=new_id(), expires_at=now + age
                )
            )
    assert await Maintenance(platform.database.raw).run_step("maintain-used-tokens")
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT jti FROM used_tokens WHERE project_id = %s", (world.project_id,)
        )
        assert {jti for (jti,) in await cursor.fetchall()} == {"just-expired", "valid"}


async def test_a_row_that_one_wrong_clock_left_in_a_default_partition_stops_no_maintenance(
    apart: Platform,
) -> None:
    """The month comes within the horizon: its partition is made, with the row in it."""
    beyond = month_start(datetime.now(UTC), MONTHS_AHEAD + 1)
    async with apart.database.raw.connection() as connection:
        assert await _insert_event(connection, beyond + timedelta(days=3)) == "events_default"
        for table in ("messages", "attempts", "events"):
            await keep_partitions(table, connection, month_start(datetime.now(UTC), 1))
            assert f"{beyond:%Y%m}" in await months_made(connection, table)
        rows = await (
            await connection.execute("SELECT tableoid::regclass::text FROM events")
        ).fetchall()
        assert rows == [(f"events_p{beyond:%Y%m}",)]
        assert (
            await _insert_event(connection, beyond + timedelta(days=4)) == f"events_p{beyond:%Y%m}"
        )


async def test_rows_of_any_month_leave_the_default_partition(apart: Platform) -> None:
    instants = [
        datetime(year, month, 15, tzinfo=UTC) for year, month in ((2001, 1), (2001, 3), (2090, 12))
    ]
    async with apart.database.raw.connection() as connection:
        for instant in (*instants, datetime(2001, 1, 20, tzinfo=UTC)):
            assert await _insert_event(connection, instant) == "events_default"
        await keep_partitions("events", connection)
        rows = await (
            await connection.execute("SELECT tableoid::regclass::text FROM events ORDER BY 1")
        ).fetchall()
    assert [name for (name,) in rows] == [
        "events_p200101",
        "events_p200101",
        "events_p200103",
        "events_p209012",
    ]


async def test_an_id_of_no_time_stays_in_the_default_partition_and_keeps_nothing_from_being_made(
    apart: Platform,
) -> None:
    async with apart.database.raw.connection() as connection:
        await connection.execute(
            "INSERT INTO events (id, project_id, message_id, type, data, created_at)"
            " SELECT id, id, id, 'x', '{}', now() FROM unnest(%s::uuid[]) id",
            ([UUID(int=1), UUID(int=2**128 - 1)],),
        )
        await connection.execute(f"DROP TABLE events_p{month_start(datetime.now(UTC), 3):%Y%m}")
        await keep_partitions("events", connection)
        assert len(await months_made(connection, "events")) == MONTHS_AHEAD + 1
        assert await (
            await connection.execute("SELECT count(*) FROM events_default")
        ).fetchone() == (2,)


async def test_a_partition_made_later_is_like_the_others(apart: Platform) -> None:
    """Attached, not made in place: indexes, defaults and storage must come along anyway."""
    query = """
    SELECT c.relname, c.reloptions, (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid),
        (SELECT array_agg(a.attname::text || a.attnotnull::text || a.atthasdef::text
            ORDER BY a.attnum)
         FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
        (SELECT count(*) FROM pg_trigger t WHERE t.tgrelid = c.oid)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'messages'::regclass AND c.relname IN (%s, %s)
    """
    created, later = (
        f"messages_p{month_start(datetime.now(UTC), months):%Y%m}"
        for months in (1, MONTHS_AHEAD + 1)
    )
    async with apart.database.raw.connection() as connection:
        await keep_partitions("messages", connection, month_start(datetime.now(UTC), 1))
        rows = await (await connection.execute(query, (created, later))).fetchall()
    first, second = rows
    assert {first[0], second[0]} == {created, later}
    assert first[1:] == second[1:]


async def test_a_long_reader_makes_the_partitions_wait_and_nobody_else(
    apart: Platform, settings: Settings
) -> None:
    """A dump holds every table for as long as it takes; the months ahead have time."""
    async with (
        apart.database.raw.connection() as connection,
        await psycopg.AsyncConnection.connect(apart.settings.require_database_url()) as reader,
    ):
        await reader.execute("SELECT count(*) FROM events")
        await keep_partitions("events", connection, month_start(datetime.now(UTC), 1))
        assert len(await months_made(connection, "events")) == MONTHS_AHEAD + 1
        await reader.rollback()
        await keep_partitions("events", connection, month_start(datetime.now(UTC), 1))
        assert len(await months_made(connection, "events")) == MONTHS_AHEAD + 2


async def test_a_step_that_fails_is_named_and_stops_no_other(apart: Platform) -> None:
    """Whatever it is: here a table is not there, which no step expects."""
    now = datetime.now(UTC)
    async with apart.database.raw.connection() as connection:
        await connection.execute("ALTER TABLE idempotency_records RENAME TO elsewhere")
        await connection.execute("DROP TABLE messages_default")
        await connection.execute(
            "INSERT INTO used_tokens (project_id, jti, message_id, expires_at) VALUES (%s, 'x',"
            " %s, %s)",
            (new_id(), new_id(), now - timedelta(days=1)),
        )
        await connection.execute(f"DROP TABLE events_p{month_start(now, 3):%Y%m}")
    Maintenance(apart.database.raw).start(apart.background)
    failing = {"maintain-idempotency-keys", "maintain-partitions-of-messages"}
    async with asyncio.timeout(20), apart.database.raw.connection() as connection:
        while True:
            tokens = await (await connection.execute("SELECT count(*) FROM used_tokens")).fetchone()
            is_made = len(await months_made(connection, "events")) == MONTHS_AHEAD + 1
            if (
                tokens == (0,)
                and is_made
                and {state.name for state in apart.failing_tasks()} == failing
            ):
                break
            await asyncio.sleep(0.05)
        # And what failed goes on by itself once it can.
        await connection.execute("ALTER TABLE elsewhere RENAME TO idempotency_records")
        await connection.execute("CREATE TABLE messages_default PARTITION OF messages DEFAULT")
    maintenance = Maintenance(apart.database.raw)
    for name in failing:
        async with asyncio.timeout(5):
            while not await maintenance.run_step(name):  # the task itself is at it
                await asyncio.sleep(0.05)


async def test_processes_that_were_killed_are_forgotten(apart: Platform) -> None:
    async with apart.database.raw.connection() as connection:
        await apart.heartbeat.beat(connection)
        await connection.execute(
            "INSERT INTO processes SELECT gen_random_uuid(), 'worker', 'gone', 1, '', now(),"
            " now() - interval '2 hours', '[]'"
        )
        await Maintenance(apart.database.raw).run_step("maintain-processes")
        rows = await (await connection.execute("SELECT role FROM processes")).fetchall()
    assert rows == [("web",)]


async def test_two_workers_do_not_do_the_same_step_at_once(apart: Platform) -> None:
    name, place = ("maintain-sessions", list(STEPS).index("maintain-sessions"))
    async with (
        apart.database.raw.connection() as connection,
        try_hold(connection, AdvisoryLock.MAINTENANCE, place) as is_ours,
    ):
        assert is_ours
        assert not await Maintenance(apart.database.raw).run_step(name)
    assert await Maintenance(apart.database.raw).run_step(name)
