"""Analytics: each message once, in its reader's hours and days, with what became of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import col, select

from backend.errors import ValidationFailed
from backend.ids import new_id
from backend.models import Message
from backend.platform import Platform
from backend.services.reporting.analytics import (
    Interval,
    MessageStatistics,
    connector_statistics,
    message_statistics,
    sent_counts,
    usage,
)
from backend.services.reporting.periods import Period, parse_period
from backend.services.reporting.rollups import RollupFolder, Scope
from tests.services.stored_messages import row, save
from tests.world import World

NOW = datetime(2024, 4, 20, 12, tzinfo=UTC)


def period(zone: str, from_: str, to: str) -> Period:
    return parse_period(from_, to, zone=ZoneInfo(zone), now=NOW)


async def statistics(
    world: World, expected: Period, interval: Interval = "day", **scope: Any
) -> MessageStatistics:
    async with world.platform.database.session() as session:
        return await message_statistics(
            session, scope=Scope(world.project_id, **scope), period=expected, interval=interval
        )


async def _messages_every_17_minutes(world: World, first: datetime, days: int) -> None:
    statuses = ["delivered", "failed", "sent", "queued"]
    await save(
        world,
        *(
            row(world, at=first + timedelta(minutes=17 * n), status=statuses[n % 4])
            for n in range(days * 24 * 60 // 17)
        ),
    )


@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize(
    "zone",
    [
        "UTC",
        "Europe/Berlin",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "America/Havana",
        "Australia/Lord_Howe",
    ],
)
async def test_days_and_hours_are_those_of_the_zone(
    world: World, platform: Platform, zone: str, is_folded: bool
) -> None:
    """Across the nights in which Berlin and Lord Howe change their clocks."""
    await _messages_every_17_minutes(world, datetime(2024, 3, 29, tzinfo=UTC), 11)
    if is_folded:
        await RollupFolder(platform.database.raw).fold()
    numbers = await statistics(world, period(zone, "2024-03-30", "2024-04-07"), "hour")
    async with platform.database.session() as session:
        created = (
            await session.exec(
                select(col(Message.created_at)).where(Message.project_id == world.project_id)
            )
        ).all()
    days: Counter[date] = Counter()
    hours: Counter[str] = Counter()
    for at in created:
        local = at.astimezone(ZoneInfo(zone))
        days[local.date()] += 1
        hours[local.strftime("%Y-%m-%d %H %z")] += 1
    assert {day: tally.accepted for day, tally in numbers.by_day} == {
        date(2024, 3, 30) + timedelta(days=n): days[date(2024, 3, 30) + timedelta(days=n)]
        for n in range(9)
    }
    for hour, tally in numbers.by_hour:
        assert tally.accepted == hours[hour.strftime("%Y-%m-%d %H %z")], hour
    by_day = await statistics(world, period(zone, "2024-03-30", "2024-04-07"))
    assert by_day.by_day == numbers.by_day
    assert by_day.totals == numbers.totals
    assert (
        numbers.totals.accepted
        == sum(tally.accepted for _, tally in numbers.by_hour)
        == sum(tally.accepted for _, tally in numbers.by_day)
    )


async def test_sent_is_all_that_is_no_longer_waiting(world: World) -> None:
    statuses = [
        "scheduled", "queued", "sending", "uncertain", "sent", "undelivered", "failed", "canceled",
        "expired",
        "blocked", "delivered", "read",
    ]  # fmt: skip
    await save(world, *(row(world, at=NOW, status=status) for status in statuses))
    totals = (await statistics(world, period("UTC", "2024-04-20", "2024-04-20"))).totals
    assert (totals.accepted, totals.sent, totals.delivered, totals.failed) == (12, 7, 2, 3)
    assert totals.delivered_rate == pytest.approx(2 / 7)
    assert totals.by_status == dict.fromkeys(statuses, 1)


async def test_times_and_reasons_are_reported(world: World) -> None:
    sent = [
        row(
            world,
            at=NOW,
            status="delivered",
            # Scheduled ahead: its time begins when it was due.
            send_at=NOW + timedelta(hours=1),
            sent_at=NOW + timedelta(hours=1, milliseconds=100 * n),
            delivered_at=NOW + timedelta(hours=1, seconds=n),
        )
        for n in range(1, 101)
    ]
    failed = [
        row(world, at=NOW, status="failed", error_code=code)
        for code in ("400", "400", "21211", None)
    ]
    await save(world, *sent, *failed, row(world, at=NOW, status="queued", error_code="TRY_LATER"))
    totals = (await statistics(world, period("UTC", "2024-04-20", "2024-04-20"))).totals
    assert totals.to_provider.p50_ms == pytest.approx(5_000, rel=0.05)
    assert totals.to_provider.p95_ms == pytest.approx(9_500, rel=0.05)
    assert totals.to_delivery.p50_ms == pytest.approx(50_000, rel=0.05)
    assert totals.to_delivery.p95_ms == pytest.approx(95_000, rel=0.05)
    assert totals.failures == {"400": 2, "21211": 1, "": 1}


async def test_filters_narrow_and_other_projects_stay_out(world: World, platform: Platform) -> None:
    connector_id = new_id()
    await save(
        world,
        row(world, at=NOW, connector_id=connector_id),
        row(world, at=NOW, connector_type="telegram"),
        row(world, at=NOW, mode="test"),
        row(await World.make(platform), at=NOW),
    )
    day = period("UTC", "2024-04-20", "2024-04-20")
    assert (await statistics(world, day)).totals.accepted == 3
    assert (await statistics(world, day, mode="live")).totals.accepted == 2
    assert (await statistics(world, day, connector=connector_id)).totals.accepted == 1
    assert (await statistics(world, day, connector="telegram")).by_connector.keys() == {"telegram"}
    assert list((await statistics(world, day)).by_connector) == ["sandbox", "telegram"]


async def test_a_series_has_an_end(world: World) -> None:
    with pytest.raises(ValidationFailed, match="interval=day"):
        await statistics(world, period("UTC", "2024-01-01", "2024-03-01"), "hour")
    with pytest.raises(ValidationFailed, match="shorter"):
        await statistics(world, period("UTC", "2020-01-01", "2024-03-01"))


async def test_connectors_are_there_without_messages_and_after_they_are_gone(world: World) -> None:
    busy, idle, gone = await world.connector(), await world.connector(), new_id()
    await save(
        world,
        row(world, at=NOW, connector_id=busy.id, status="delivered", sent_at=NOW),
        row(world, at=NOW, connector_id=busy.id, status="failed", error_code="400"),
        row(world, at=NOW, connector_id=gone, connector_type="telegram"),
    )
    async with world.platform.database.session() as session:
        scope, day = Scope(world.project_id), period("UTC", "2024-04-20", "2024-04-20")
        first, second, third = await connector_statistics(session, scope=scope, period=day)
        only = await connector_statistics(
            session, scope=Scope(world.project_id, connector=idle.id), period=day
        )
        used = await usage(session, scope=scope, period=day, user_id=world.user_id)
    assert (first.id, first.name, first.tally.sent, first.tally.failures) == (
        busy.id,
        "sandbox",
        2,
        {"400": 1},
    )
    assert (second.id, second.type, second.name, second.is_active) == (
        gone,
        "telegram",
        None,
        False,
    )
    assert (third.id, third.tally.accepted) == (idle.id, 0)
    assert [item.id for item in only] == [idle.id]
    assert (used.totals.accepted, used.total_projects, used.total_connectors) == (3, 1, 2)
    assert used.top_connectors == [("sandbox", 2), ("telegram", 1)]


async def test_stats_count_from_the_readers_midnight(world: World) -> None:
    # 2024-05-01 00:30 in Kolkata, a Wednesday: 19:00 UTC of April 30.
    now = datetime(2024, 4, 30, 19, 0, tzinfo=UTC)
    for at in (now, now - timedelta(hours=1), now - timedelta(days=1), now - timedelta(days=60)):
        await save(world, row(world, at=at))
    async with world.platform.database.session() as session:
        scope = Scope(world.project_id)
        kolkata = await sent_counts(session, scope=scope, zone=ZoneInfo("Asia/Kolkata"), now=now)
        utc = await sent_counts(session, scope=scope, zone=ZoneInfo("UTC"), now=now)
    assert (kolkata.today, kolkata.this_week, kolkata.this_month, kolkata.total) == (1, 3, 1, 4)
    assert (utc.today, utc.this_week, utc.this_month, utc.total) == (2, 3, 3, 4)
