"""Messages past their retention go, those that wait stay, and every number stays right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
import pytest_asyncio

from backend.ids import new_id
from backend.models import Attempt, DeadLetter, Event, Message, ProviderRef
from backend.models.partitions import PARTITIONED, first_id, month_start
from backend.models.send_queue import DUE
from backend.platform import Platform
from backend.process.advisory_locks import AdvisoryLock, hold
from backend.services.policy.request import SendRequest
from backend.services.reporting.analytics import message_statistics
from backend.services.reporting.periods import Period, Span, ceil_quarter, floor_quarter
from backend.services.reporting.rollups import RollupFolder, Scope
from backend.services.retention.keeper import Keeper
from backend.services.retention.policies import Defaults
from backend.services.retention.removal import Removal
from tests.services.retention.conftest import retain
from tests.services.stored_messages import listed, queued, row, save
from tests.world import World

Connection = psycopg.AsyncConnection[Any]
NOW = datetime.now(UTC).replace(microsecond=0)
KEEP = Defaults(content_days=0, retention_days=0)
# A month of its own for partitions: no other test's messages are of that time.
MONTH = datetime(2012, 5, 1, tzinfo=UTC)
WITHIN = MONTH + timedelta(days=9, hours=3)


async def remove(connection: Connection) -> None:
    await Removal(KEEP).run_once(connection)


def details(message: Message, *, at: datetime | None = None) -> list[Any]:
    """An attempt, an event, a provider's id and the dead letter of the message."""
    unique = new_id()
    own_id = (
        UUID(int=first_id(at).int | (unique.int & ((1 << 80) - 1)))
        if at is not None
        else message.id
    )
    about: dict[str, Any] = {"project_id": message.project_id, "message_id": message.id}
    return [
        Attempt(
            id=own_id,
            connector_id=message.connector_id,
            number=1,
            outcome="accepted",
            started_at=NOW,
            duration_ms=1,
            **about,
        ),
        Event(id=own_id, type="message.sent", data={}, created_at=NOW, **about),
        ProviderRef(
            connector_id=message.connector_id,
            provider_message_id=str(unique),
            message_id=message.id,
            created_at=message.created_at,
        ),
        DeadLetter(message_id=message.id, project_id=message.project_id),
    ]


async def left_of(connection: Connection, table: str, messages: Sequence[Message]) -> int:
    column = "id" if table == "messages" else "message_id"
    ids = [message.id for message in messages]
    return (
        await connection.execute(f"SELECT FROM {table} WHERE {column} = ANY(%s)", (ids,))
    ).rowcount


@pytest_asyncio.fixture
async def partitions(connection: Connection) -> AsyncIterator[None]:
    """Partitions of MONTH for every table; what a test leaves of them is dropped."""
    low, high = first_id(MONTH), first_id(month_start(MONTH, 1))
    for table in PARTITIONED:
        name = f"{table}_p{MONTH:%Y%m}"
        await connection.execute(
            f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{low}') TO ('{high}')"
        )
    yield
    await connection.execute("DELETE FROM send_queue WHERE message_id < %s", (high,))
    for table in PARTITIONED:
        await connection.execute(f"DROP TABLE IF EXISTS {table}_p{MONTH:%Y%m}")


async def remaining(connection: Connection) -> set[str]:
    cursor = await connection.execute(
        "SELECT relname FROM pg_class WHERE relname LIKE %s", (f"%_p{MONTH:%Y%m}",)
    )
    return {row[0].rpartition("_")[0] for row in await cursor.fetchall()}


async def test_old_messages_go_with_all_that_hangs_on_them(
    world: World, connection: Connection
) -> None:
    await retain(world, retention_days=30)
    old, waiting, new = (row(world, at=NOW - timedelta(days=days)) for days in (31, 40, 29))
    waiting.status = "scheduled"
    everything = [old, waiting, new]
    await save(
        world,
        *everything,
        queued(waiting, DUE),
        *(d for message in everything for d in details(message)),
    )
    await remove(connection)
    for table in ("messages", "attempts", "events", "provider_refs", "dead_letters"):
        assert await left_of(connection, table, [old]) == 0, table
        assert await left_of(connection, table, [waiting, new]) == 2, table
    # Once it has ended, it goes too.
    await connection.execute("DELETE FROM send_queue WHERE message_id = %s", (waiting.id,))
    await connection.execute("UPDATE messages SET status = 'canceled' WHERE id = %s", (waiting.id,))
    await remove(connection)
    assert await left_of(connection, "messages", everything) == 1


async def test_a_project_without_a_limit_keeps_its_messages(
    world: World, platform: Platform, connection: Connection
) -> None:
    other = await World.make(platform)
    await retain(world, retention_days=0)
    await retain(other, retention_days=1)
    kept, gone = (row(ours, at=datetime(2013, 2, 3, tzinfo=UTC)) for ours in (world, other))
    await save(world, kept, gone)
    # The server's default reaches neither: both have said what they want, and nobody else is that
    # old.
    await Removal(Defaults(content_days=0, retention_days=3650)).run_once(connection)
    assert await left_of(connection, "messages", [kept]) == 1
    assert await left_of(connection, "messages", [gone]) == 0


async def accepted(world: World, since: datetime) -> int:
    """What analytics count."""
    span = Span(floor_quarter(since), ceil_quarter(NOW + timedelta(hours=1)))
    async with world.platform.database.session() as session:
        statistics = await message_statistics(
            session, scope=Scope(world.project_id), period=Period(span, ZoneInfo("UTC"))
        )
    return statistics.totals.accepted


@pytest.mark.parametrize("is_folded", [True, False])
async def test_totals_follow_and_analytics_stay(
    world: World, platform: Platform, connection: Connection, *, is_folded: bool
) -> None:
    await retain(world, retention_days=30)
    old = [row(world, at=NOW - timedelta(days=40, minutes=n), status="failed") for n in range(70)]
    new = [
        row(world, at=NOW - timedelta(minutes=n), status=("failed", "delivered")[n % 2])
        for n in range(120)
    ]
    waiting = row(world, at=NOW - timedelta(days=35), status="scheduled")
    await save(world, *old, *new, waiting, queued(waiting, DUE))
    folder = RollupFolder(platform.database.raw)
    await folder.fold()
    assert (await listed(world)).total == 191
    await remove(connection)
    if is_folded:
        await folder.fold()
    assert (await listed(world)).total == 121
    failed = await listed(world, status="failed")
    assert (failed.total, len(failed.items)) == (60, 50)
    assert (await listed(world, status="delivered")).total == 60
    assert (await listed(world, status="scheduled")).total == 1
    before = await listed(world, to=NOW - timedelta(days=10))
    assert ([item.id for item in before.items], before.total) == ([waiting.id], 1)
    assert await accepted(world, NOW - timedelta(days=60)) == 191


async def test_a_filter_finds_the_old_ones_behind_those_that_are_gone(
    world: World, platform: Platform, connection: Connection
) -> None:
    """The counters still know of the messages between: the list must not end there."""
    await retain(world, retention_days=30)
    oldest = row(world, at=NOW - timedelta(days=50), status="canceled")
    between = [
        row(world, at=NOW - timedelta(days=40, minutes=n), status="canceled") for n in range(80)
    ]
    await save(world, oldest, *between, queued(oldest, DUE))
    await RollupFolder(platform.database.raw).fold()
    await remove(connection)
    for _ in range(2):
        page = await listed(world, status="canceled")
        assert ([item.id for item in page.items], page.total) == ([oldest.id], 1)
        await RollupFolder(platform.database.raw).fold()


@pytest.mark.usefixtures("partitions")
async def test_a_month_that_is_over_for_everybody_is_dropped(
    world: World, platform: Platform, connection: Connection
) -> None:
    other = await World.make(platform)
    await retain(world, retention_days=30)
    await retain(other, retention_days=3650)
    mine = [
        row(world, at=WITHIN + timedelta(minutes=n), status=("failed", "sent")[n % 2])
        for n in range(30)
    ]
    theirs = [row(other, at=WITHIN)]
    await save(
        world, *mine, *theirs, *(d for message in (*mine, *theirs) for d in details(message))
    )
    await RollupFolder(platform.database.raw).fold()
    await remove(connection)
    assert await remaining(connection) == set()
    assert await left_of(connection, "provider_refs", [*mine, *theirs]) == 0
    assert await left_of(connection, "dead_letters", [*mine, *theirs]) == 0
    assert ((await listed(world)).total, (await listed(world, status="failed")).total) == (0, 0)
    assert ((await listed(other)).total, await accepted(other, MONTH + timedelta(days=4400))) == (
        0,
        0,
    )
    await save(world, row(world))
    assert (await listed(world)).total == 1


@pytest.mark.usefixtures("partitions")
async def test_a_month_with_a_message_that_still_waits_is_not_dropped(
    world: World, connection: Connection
) -> None:
    await retain(world, retention_days=30)
    ended, waiting = (row(world, at=WITHIN + timedelta(hours=n)) for n in range(2))
    waiting.status = "scheduled"
    await save(world, ended, waiting, queued(waiting, DUE), *details(ended), *details(waiting))
    await remove(connection)
    assert await remaining(connection) == set(PARTITIONED)
    assert await left_of(connection, "messages", [ended, waiting]) == 1
    assert await left_of(connection, "attempts", [ended, waiting]) == 1
    assert (await world.message(waiting.id)).status == "scheduled"
    # When it has gone out, nothing holds the month any longer.
    await connection.execute("DELETE FROM send_queue WHERE message_id = %s", (waiting.id,))
    await connection.execute(
        "UPDATE messages SET status = 'delivered' WHERE id = %s", (waiting.id,)
    )
    await remove(connection)
    assert await remaining(connection) == set()


@pytest.mark.usefixtures("partitions")
async def test_a_month_that_one_project_keeps_is_not_dropped(
    world: World, platform: Platform, connection: Connection
) -> None:
    keeper = await World.make(platform)
    await retain(world, retention_days=30)
    mine, kept = row(world, at=WITHIN), row(keeper, at=WITHIN)
    await save(world, mine, kept, *details(mine), *details(kept))
    await remove(connection)
    assert await remaining(connection) == set(PARTITIONED)
    assert await left_of(connection, "messages", [mine]) == 0
    assert await left_of(connection, "events", [mine, kept]) == 1
    assert (await listed(keeper)).total == 1


@pytest.mark.usefixtures("partitions")
async def test_attempts_made_in_a_later_month_go_when_that_is_over(
    world: World, connection: Connection
) -> None:
    """A message of the month before, tried in this one, must not lose its attempts while it is
    there.
    """
    keeper = await World.make(world.platform)
    await retain(world, retention_days=30)
    kept = row(keeper, at=MONTH - timedelta(days=2))
    await save(world, kept, *details(kept, at=WITHIN), row(world, at=WITHIN))
    await remove(connection)
    assert await remaining(connection) == {"attempts", "events"}
    assert await left_of(connection, "attempts", [kept]) == 1
    await retain(keeper, retention_days=30)
    await remove(connection)
    assert await remaining(connection) == set()


@pytest.mark.usefixtures("partitions")
async def test_nobody_waits_behind_a_month_that_is_being_read(
    world: World, platform: Platform, connection: Connection
) -> None:
    await retain(world, retention_days=30)
    connector = await world.connector()
    await save(world, row(world, at=WITHIN))
    async with platform.database.raw.connection() as reader, reader.transaction():
        await reader.execute("SELECT FROM messages WHERE project_id = %s", (world.project_id,))
        await remove(connection)
        assert "messages" in await remaining(connection)
        await world.send(SendRequest(to="ada", text="hi", connector_id=connector.id))
    await remove(connection)
    assert await remaining(connection) == set()


async def test_one_worker_forgets_at_a_time(platform: Platform) -> None:
    async with platform.database.raw.connection() as other, hold(other, AdvisoryLock.RETENTION):
        assert not await Keeper(platform.database.raw, KEEP).keep()
    assert await Keeper(platform.database.raw, KEEP).keep()
    assert await Keeper(platform.database.raw, KEEP).keep()
