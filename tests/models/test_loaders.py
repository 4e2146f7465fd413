"""Values that Postgres keeps and Python does not: they read as the nearest, and spoil no answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from sqlalchemy import text

from backend.models.loaders import EARLIEST, LATEST
from backend.models.session import Database
from backend.settings import Settings

BEYOND = {
    "0044-03-15 12:00:00 BC": EARLIEST,
    "4713-11-24 00:00:00+00 BC": EARLIEST,
    "0001-12-31 10:00:00+00 BC": EARLIEST,
    "0001-01-01 00:00:00+00": EARLIEST,
    "-infinity": EARLIEST,
    "9999-12-31 23:59:59.999999+00": LATEST,
    "10000-01-01 00:00:00+00": LATEST,
    "294276-12-31 00:00:00+00": LATEST,
    "infinity": LATEST,
}


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.require_database_url(), pool_size=4)
    await database.open()
    yield database
    await database.close()


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kolkata"])
@pytest.mark.parametrize("is_binary", [False, True])
async def test_an_instant_beyond_pythons_reads_as_the_furthest(
    database: Database, zone: str, is_binary: bool
) -> None:
    async with database.raw.connection() as connection:
        await connection.execute("SELECT set_config('TimeZone', %s, false)", (zone,))
        cursor = connection.cursor(binary=is_binary)
        for written, expected in BEYOND.items():
            await cursor.execute("SELECT %s::text::timestamptz", (written,))
            row = await cursor.fetchone()
            assert row == (expected,), written
            # Every zone can still show it.
            assert (
                row[0].astimezone(ZoneInfo("Pacific/Kiritimati")).astimezone(ZoneInfo("Etc/GMT+12"))
            )
        await connection.execute("RESET TimeZone")


async def test_sqlalchemy_reads_them_too(database: Database) -> None:
    async with database.session() as session:
        connection = await session.connection()
        rows = await connection.execute(
            text("SELECT 'infinity'::timestamptz, '0044-03-15 BC'::timestamptz")
        )
        assert rows.one() == (LATEST, EARLIEST)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 1500 + "]" * 1500])
async def test_json_that_python_does_not_read_is_none(database: Database, value: str) -> None:
    async with database.raw.connection() as connection:
        cursor = await connection.execute("SELECT %s::text::jsonb, '{\"a\": 1}'::jsonb", (value,))
        assert await cursor.fetchone() == (None, {"a": 1})


async def test_every_other_instant_reads_as_before(database: Database) -> None:
    @given(st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)))  # noqa: DTZ001
    @limits(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    def collect(instant: datetime) -> None:
        instants.append(instant.replace(tzinfo=UTC))

    instants: list[datetime] = []
    collect()
    async with database.raw.connection() as connection:
        cursor = await connection.execute("SELECT * FROM unnest(%s::timestamptz[])", (instants,))
        assert [row[0] for row in await cursor.fetchall()] == instants


async def test_the_first_request_after_postgres_was_away_succeeds(database: Database) -> None:
    async def all_at_once(count: int) -> list[Any]:
        connections = [await database.raw.getconn() for _ in range(count)]
        pids = [connection.info.backend_pid for connection in connections]
        for connection in connections:
            await database.raw.putconn(connection)
        return pids

    pids = await all_at_once(2)
    async with database.session() as session:
        connection = await session.connection()
        # As a restart does to every connection; the pool does not hear of it. With a time in
        # milliseconds, the function returns once the process has ended.
        ended = await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM unnest(CAST(:pids AS int[])) AS p(pid)"
            ),
            {"pids": pids},
        )
        assert all(ended.scalars())
    for _ in range(2):
        async with database.raw.connection(timeout=5) as raw:
            assert await (await raw.execute("SELECT 1")).fetchone() == (1,)
