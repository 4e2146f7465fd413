"""The Overview's numbers: every message once, in the viewer's hours and days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.reporting.overview import Overview, overview
from tests.services.stored_messages import row, save
from tests.world import World

# A fixed time of day, so that the arithmetic below does not depend on when the test runs.
NOON = datetime.now(UTC).replace(hour=12, minute=30, second=0, microsecond=0) - timedelta(days=1)


async def seen(world: World, **options: Any) -> Overview:
    async with world.platform.database.session() as session:
        return await overview(session, system_access(world.project_id), **{"now": NOON, **options})


async def test_messages_are_counted_by_what_became_of_them(
    world: World, platform: Platform
) -> None:
    at = NOON - timedelta(hours=1)
    statuses = [
        "queued",
        "sent",
        "delivered",
        "read",
        "failed",
        "undelivered",
        "expired",
        "canceled",
        "uncertain",
    ]
    await save(
        world,
        *(row(world, at=at, status=status) for status in statuses),
        row(await World.make(platform), at=at),
    )
    numbers = await seen(world)
    assert numbers.accepted == 9
    assert numbers.handed_over == 4  # sent, undelivered, delivered, read
    assert numbers.delivered == 2  # delivered, read
    assert numbers.failed == 3  # failed, undelivered, expired
    assert numbers.by_status == dict.fromkeys(statuses, 1)


async def test_an_empty_project_has_zeros_and_all_its_hours(world: World) -> None:
    numbers = await seen(world)
    assert (numbers.accepted, numbers.failed, numbers.p95_ms, list(numbers.failures)) == (
        0,
        0,
        None,
        [],
    )
    assert [bucket.total for bucket in numbers.buckets] == [0] * 24


async def test_hours_end_with_the_current_one(world: World) -> None:
    await save(
        world,
        row(world, at=NOON),
        row(world, at=NOON - timedelta(minutes=31)),  # 11:59
        row(
            world, at=NOON - timedelta(hours=23, minutes=30)
        ),  # 13:00 of the day before: the first hour
        row(world, at=NOON - timedelta(hours=23, minutes=31)),  # 12:59: before it
    )
    numbers = await seen(world)
    totals = [bucket.total for bucket in numbers.buckets]
    assert (totals[23], totals[22], totals[0], sum(totals), numbers.accepted) == (1, 1, 1, 3, 3)
    assert numbers.buckets[23].start == NOON.replace(minute=0)


@pytest.mark.parametrize(("window", "days"), [("7d", 7), ("30d", 30)])
async def test_days_begin_at_the_viewers_midnight(world: World, window: Any, days: int) -> None:
    # 12:30 UTC is 18:00 in Delhi (+05:30), whose day began at 18:30 UTC of the day before.
    midnight = NOON.replace(hour=18, minute=30) - timedelta(days=1)
    await save(world, row(world, at=midnight), row(world, at=midnight - timedelta(seconds=1)))
    numbers = await seen(world, window=window, utc_offset_minutes=330)
    assert len(numbers.buckets) == days
    assert numbers.buckets[-1].start == midnight
    assert [bucket.total for bucket in numbers.buckets][-2:] == [1, 1]


async def test_hours_follow_a_half_hour_zone(world: World) -> None:
    numbers = await seen(world, utc_offset_minutes=330)
    assert numbers.buckets[-1].start == NOON  # 18:00 in Delhi


async def test_live_and_test_do_not_mix(world: World) -> None:
    at = NOON - timedelta(hours=1)
    await save(
        world, row(world, at=at), row(world, at=at, mode="test"), row(world, at=at, mode="test")
    )
    assert (await seen(world)).accepted == 1
    assert (await seen(world, mode="test")).accepted == 2


async def test_the_95th_percentile_counts_from_when_a_message_was_due(world: World) -> None:
    at = NOON - timedelta(hours=1)
    await save(
        world,
        *(row(world, at=at, sent_at=at + timedelta(milliseconds=10 * n)) for n in range(1, 21)),
        # Scheduled half an hour ahead and sent 5 ms after that: not half an hour late.
        row(
            world,
            at=at,
            send_at=at + timedelta(minutes=30),
            sent_at=at + timedelta(minutes=30, milliseconds=5),
        ),
    )
    # 5, 10, 20 ... 200 ms: the 95th percentile of 21 values is the 20th (index 0.95 * 20 = 19): 190
    # ms.
    assert (await seen(world)).p95_ms == pytest.approx(190, rel=0.045)


async def test_each_connector_has_its_numbers_and_its_health(world: World) -> None:
    busy, idle = (
        await world.connector(),
        await world.connector("telegram", {"botToken": "123456:" + "A" * 35}),
    )
    at = NOON - timedelta(hours=2)
    await save(
        world,
        row(world, at=at, connector_id=busy.id, status="delivered", sent_at=at),
        row(world, at=at, connector_id=busy.id, status="sent", sent_at=at + timedelta(seconds=1)),
        row(world, at=at, connector_id=busy.id, status="failed"),
        row(world, at=at, connector_id=busy.id, status="queued"),
    )
    first, second = (await seen(world)).connectors
    assert (first.id, first.accepted, first.handed_over, first.delivered, first.failed) == (
        busy.id,
        4,
        2,
        1,
        1,
    )
    assert first.error_rate == pytest.approx(1 / 3)
    assert first.last_sent_at == at + timedelta(seconds=1)
    assert (second.id, second.accepted, second.error_rate, second.last_sent_at) == (
        idle.id,
        0,
        None,
        None,
    )


async def test_the_latest_failures_come_with_their_reason(world: World) -> None:
    for n in range(7):
        at = NOON - timedelta(minutes=n)
        await save(
            world,
            row(
                world, at=at, status="failed", error_code=str(n), error_reason=f"r{n}", failed_at=at
            ),
        )
    failures = (await seen(world)).failures
    assert [(f.code, f.reason) for f in failures] == [(str(n), f"r{n}") for n in range(5)]
