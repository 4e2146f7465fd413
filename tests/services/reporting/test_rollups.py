"""Rollups equal a count of the rows at any moment, whatever happens to messages and folders."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import col, select

from backend.ids import new_id
from backend.models import Message
from backend.models.message_rollup import FAILURE, STATUS, TO_DELIVERY, TO_PROVIDER
from backend.platform import Platform
from backend.services.policy.request import SendRequest
from backend.services.reporting.periods import QUARTER, Span, ceil_quarter, floor_quarter
from backend.services.reporting.rollup_folding import RollupFolder, rebuild_rollups
from backend.services.reporting.rollups import (
    MEASURES,
    RollupQuery,
    Scope,
    count_messages,
    percentile_ms,
)
from backend.status import FAILURES, Status
from tests.services.stored_messages import row, save
from tests.world import World, make_engine

START = datetime(2026, 3, 28, 21, 7, tzinfo=UTC)
STATUSES = [status.value for status in Status]
Counted = Counter[tuple[Any, ...]]


async def counted(world: World, ask: RollupQuery, scope: Scope | None = None) -> Counted:
    async with world.platform.database.session() as session:
        (counts,) = await count_messages(session, scope or Scope(world.project_id), [ask])
    return Counter({(c.measure, c.connector_id, c.value): c.messages for c in counts})


async def expected(world: World, ask: RollupQuery, scope: Scope | None = None) -> Counted:
    """The same from the messages themselves, in another language."""
    async with world.platform.database.session() as session:
        messages = (
            await session.exec(select(Message).where(col(Message.project_id) == world.project_id))
        ).all()
    counts: Counted = Counter()
    for message in messages:
        if scope is not None and scope.mode not in (None, message.mode):
            continue
        if scope is not None and scope.connector not in (
            None,
            message.connector_id,
            message.connector_type,
        ):
            continue
        for measure, value in _facts(message):
            if measure in ask.measures and message.created_at in ask.span_of(measure):
                counts[measure, message.connector_id if ask.by_connector else None, value] += 1
    return counts


def _facts(message: Message) -> list[tuple[str, str]]:
    due = max(message.created_at, message.send_at or message.created_at)
    facts = [(STATUS, message.status)]
    if message.status in FAILURES:
        facts.append((FAILURE, message.error_code or ""))
    for measure, at in ((TO_PROVIDER, message.sent_at), (TO_DELIVERY, message.delivered_at)):
        if at is not None:
            took_ms = max(1.0, (at - due) / timedelta(milliseconds=1))
            facts.append((measure, str(math.floor(8 * math.log2(took_ms)))))
    return facts


def _random_message(
    world: World, dice: random.Random, connectors: list[tuple[UUID, str]]
) -> Message:
    at = START + timedelta(seconds=dice.randrange(3 * 86_400))
    connector_id, type_ = dice.choice(connectors)
    return row(
        world,
        at=at,
        connector_id=connector_id,
        connector_type=type_,
        mode=dice.choice(["live", "live", "test"]),
        status=dice.choice(["queued", "scheduled"]),
        send_at=dice.choice([None, at + timedelta(hours=dice.randrange(1, 50))]),
    )


# What can become of messages, the unusual included: uncertain ones sent again, delivered ones that
# fail.
_CHANGE = """
UPDATE messages SET status = %s, error_code = %s, updated_at = now(),
    sent_at = CASE WHEN %s THEN greatest(created_at, send_at) + make_interval(secs => %s)
        ELSE sent_at END,
    delivered_at = CASE WHEN %s THEN greatest(created_at, send_at) + make_interval(secs => %s)
        ELSE delivered_at END
WHERE id = ANY(%s)
"""


async def _change_some(world: World, dice: random.Random, ids: list[UUID]) -> None:
    # A tenth of a millisecond away from the edges of bins, so that both languages round alike.
    some = dice.sample(ids, dice.randrange(1, len(ids)))
    async with world.platform.database.raw.connection() as connection:
        await connection.execute(
            _CHANGE,
            (
                dice.choice(STATUSES),
                dice.choice([None, "", "400", "EXPIRED"]),
                dice.random() < 0.5,
                dice.randrange(0, 90_000) / 1000 + 0.0003,
                dice.random() < 0.3,
                dice.randrange(0, 9_000_000) / 1000 + 0.0003,
                some,
            ),
        )


@pytest.mark.parametrize("seed", [1, 2])
async def test_counts_equal_the_messages_whatever_happens_to_them(
    world: World, platform: Platform, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 (a repeatable test)
    folder = RollupFolder(platform.database.raw)
    connectors = [(new_id(), type_) for type_ in ("sandbox", "sandbox", "telegram")]
    ids: list[UUID] = []
    for _ in range(12):
        new = [_random_message(world, dice, connectors) for _ in range(15)]
        await save(world, *new)
        ids += [message.id for message in new]
        for _ in range(dice.randrange(4)):
            await _change_some(world, dice, ids)
        if dice.random() < 0.5:
            await folder.fold()
        begin = START + timedelta(minutes=dice.randrange(-600, 3000))
        span = Span(
            floor_quarter(begin), ceil_quarter(begin + timedelta(minutes=dice.randrange(15, 5000)))
        )
        scope = Scope(
            world.project_id,
            dice.choice([None, "live", "test"]),
            dice.choice([None, connectors[0][0], "sandbox", "telegram"]),
        )
        ask = RollupQuery(span, MEASURES, by_connector=dice.random() < 0.5)
        assert await counted(world, ask, scope) == await expected(world, ask, scope)
    everything = RollupQuery(
        Span(floor_quarter(START), floor_quarter(START) + timedelta(days=4)), MEASURES
    )
    before = await counted(world, everything)
    await rebuild_rollups(platform.database.raw)
    assert await counted(world, everything) == before == await expected(world, everything)


async def test_real_sends_failures_retries_and_uncertain_ones_are_counted(
    world: World, platform: Platform
) -> None:
    connector = await world.connector()
    recipients = ["ada", "sandbox:failed", "sandbox:uncertain", "sandbox:retry", "grace"]
    await asyncio.gather(
        *(
            world.send(SendRequest(to=recipient, text="hi", connector_id=connector.id))
            for recipient in recipients
            for _ in range(3)
        )
    )
    await world.send(
        SendRequest(
            to="ada",
            text="hi",
            connector_id=connector.id,
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )
    )
    await platform.doorbell.drain()
    engine = make_engine(platform)
    folder = RollupFolder(platform.database.raw)
    today = Span(
        floor_quarter(datetime.now(UTC) - timedelta(hours=1)),
        ceil_quarter(datetime.now(UTC) + QUARTER),
    )
    ask = RollupQuery(today, MEASURES, by_connector=True)
    ends = {"failed": 3, "uncertain": 3, "delivered": 7}
    counts: Counted = Counter()
    for _ in range(20):
        await asyncio.gather(engine.drain_slice(0.4), folder.fold())
        counts = await counted(world, ask)
        if all(
            counts[STATUS, connector.id, status] >= messages for status, messages in ends.items()
        ):
            break
    await engine.close(2)
    counts = await counted(world, ask)
    assert counts == await expected(world, ask)
    assert (
        counts[STATUS, connector.id, "failed"]
        == counts[FAILURE, connector.id, "sandbox_failed"]
        == 3
    )
    assert counts[STATUS, connector.id, "uncertain"] == 3
    assert counts.total() > 16  # beside a status, those that were delivered have their times


async def test_readers_see_every_message_once_while_others_write_and_fold(
    world: World, platform: Platform
) -> None:
    """A fold moves deltas into counters: a reader must always see them in exactly one place."""
    folders = [RollupFolder(platform.database.raw) for _ in range(2)]
    ask = RollupQuery(Span(floor_quarter(START), floor_quarter(START) + timedelta(days=1)))
    written = 0
    is_done = False

    async def write() -> None:
        nonlocal written, is_done
        for _ in range(25):
            await save(world, *(row(world, at=START, status="queued") for _ in range(4)))
            written += 4
        is_done = True

    async def fold(folder: RollupFolder) -> None:
        while not is_done:
            await folder.fold()

    async def read() -> None:
        while not is_done:
            before = written
            total = (await counted(world, ask)).total()
            # One batch may be committed but not yet counted here.
            assert before <= total <= written + 4

    await asyncio.gather(write(), read(), *(fold(folder) for folder in folders))
    assert (await counted(world, ask)).total() == 100


async def test_messages_may_change_while_they_are_counted_again(
    world: World, platform: Platform
) -> None:
    ask = RollupQuery(
        Span(floor_quarter(START), floor_quarter(START) + timedelta(days=1)), MEASURES
    )
    await save(world, row(world, at=START, status="failed"))
    pool = platform.database.raw
    async with (
        pool.connection() as connection,
        asyncio.TaskGroup() as tasks,
        connection.transaction(),
    ):
        # It waits for this lock after it has taken the deltas and before it counts.
        await connection.execute("LOCK TABLE message_rollups IN SHARE MODE")
        tasks.create_task(rebuild_rollups(pool))
        await _until_one_waits(platform)
        await save(world, row(world, at=START, status="failed"))
    assert await counted(world, ask) == await expected(world, ask)


async def _until_one_waits(platform: Platform) -> None:
    query = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'message_rollups'::regclass"
    )
    for _ in range(500):
        async with platform.database.raw.connection() as connection:
            if await (await connection.execute(query)).fetchone() == (1,):
                return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits for message_rollups")


async def test_the_last_hand_over_never_goes_back(world: World, platform: Platform) -> None:
    ask = RollupQuery(
        Span(floor_quarter(START), floor_quarter(START) + timedelta(days=1)), (TO_PROVIDER,)
    )
    latest, connector_id = START + timedelta(seconds=65.4), new_id()
    for sent_at in (latest, START + timedelta(seconds=65)):
        await save(
            world, row(world, at=START, connector_id=connector_id, status="sent", sent_at=sent_at)
        )
        await RollupFolder(platform.database.raw).fold()
    async with platform.database.session() as session:
        ((count,),) = await count_messages(session, Scope(world.project_id), [ask])
    assert (count.messages, count.last_at) == (2, latest)


async def test_a_fold_that_dies_changes_nothing(world: World, platform: Platform) -> None:
    await save(world, *(row(world, at=START) for _ in range(5)))
    ask = RollupQuery(
        Span(floor_quarter(START), floor_quarter(START) + timedelta(days=1)), MEASURES
    )
    before = await counted(world, ask)
    async with (
        platform.database.raw.connection() as connection,
        connection.transaction(force_rollback=True),
    ):
        assert await RollupFolder(platform.database.raw)._fold_batch(connection) > 0
    assert await counted(world, ask) == before == await expected(world, ask)


async def test_only_one_worker_folds(world: World, platform: Platform) -> None:
    await save(world, row(world, at=START))
    async with platform.database.raw.connection() as connection, connection.transaction():
        await RollupFolder(platform.database.raw)._fold_batch(connection)
        assert await RollupFolder(platform.database.raw).fold() == 0


async def test_a_busy_folder_cleans_up_after_itself(world: World, platform: Platform) -> None:
    folder = RollupFolder(platform.database.raw)
    folder._folded_since_vacuum = 1_000_000
    await save(world, row(world, at=START))
    assert await folder.fold() > 0
    assert folder._folded_since_vacuum == 0


async def test_a_status_that_messages_have_left_has_no_counter(
    world: World, platform: Platform
) -> None:
    message = row(world, at=START, status="queued")
    await save(world, message)
    folder = RollupFolder(platform.database.raw)
    await folder.fold()
    async with platform.database.raw.connection() as connection:
        await connection.execute("UPDATE messages SET status = 'sent' WHERE id = %s", (message.id,))
        await folder.fold()
        cursor = await connection.execute(
            "SELECT DISTINCT value FROM message_rollups WHERE project_id = %s", (world.project_id,)
        )
        assert await cursor.fetchall() == [("sent",)]


@pytest.mark.parametrize(
    ("times_ms", "share", "wanted_ms"),
    [
        ([100.0] * 10, 0.5, 100.0),
        ([10.0] * 90 + [1000.0] * 10, 0.5, 10.0),
        ([10.0] * 90 + [1000.0] * 10, 0.95, 1000.0),
        ([float(n) for n in range(1, 1001)], 0.95, 950.0),
    ],
)
def test_a_percentile_is_within_its_bin(
    times_ms: list[float], share: float, wanted_ms: float
) -> None:
    bins = Counter(str(math.floor(8 * math.log2(time_ms))) for time_ms in times_ms)
    assert percentile_ms(bins, share) == pytest.approx(wanted_ms, rel=0.045)


def test_no_messages_have_no_percentile() -> None:
    assert percentile_ms({}, 0.5) is None


async def test_counters_that_overflow_keep_no_other_projects_from_being_folded(
    platform: Platform,
) -> None:
    bad, good = await World.make(platform), await World.make(platform)
    folder = RollupFolder(platform.database.raw)
    await save(bad, row(bad, at=START, connector_id=bad.project_id))
    await folder.fold()
    async with platform.database.raw.connection() as connection:
        await connection.execute(
            "UPDATE message_rollups SET messages = 9223372036854775807 WHERE project_id = %s",
            (bad.project_id,),
        )
        await save(bad, row(bad, at=START, connector_id=bad.project_id))
        await save(good, row(good, at=START))
        await folder.fold()
        query = (
            "SELECT project_id, count(*) FROM rollup_deltas WHERE project_id = ANY(%s) GROUP BY 1"
        )
        cursor = await connection.execute(query, ([bad.project_id, good.project_id],))
        left = [project_id for project_id, _ in await cursor.fetchall()]
        await connection.execute(
            "DELETE FROM rollup_deltas WHERE project_id = %s", (bad.project_id,)
        )
    assert left == [bad.project_id]
