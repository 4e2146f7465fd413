"""Messages that have waited too long end with an event, whether or not a worker claims them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from backend.models.base import utc_now
from backend.models.send_queue import DUE
from backend.platform import Platform
from tests.services.delivery.routed import accept_routed, change, event_types, queue_row, way
from tests.world import World, make_sweeper

_UNUSABLE = [
    "is_active = false",
    "broken_at = now()",
    "circuit_opened_at = now(), circuit_probe_at = now() + interval '1 minute'",
]


def _past(**delta: float) -> str:
    return (utc_now() - timedelta(**delta)).isoformat()


async def _statuses(platform: Platform, world: World) -> dict[str, int]:
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT status, count(*) FROM messages WHERE project_id = %s GROUP BY 1",
            (world.project_id,),
        )
        return dict(await cursor.fetchall())


@pytest.mark.parametrize("why", ["is_active = is_active", *_UNUSABLE])
async def test_a_message_past_its_end_expires_even_when_no_worker_claims_it(
    platform: Platform, world: World, why: str
) -> None:
    box = await world.connector()
    await change(platform, f"UPDATE connectors SET {why} WHERE id = %s", box.id)
    late = await accept_routed(world, way(box), expires_at=_past(seconds=1))
    in_time = await accept_routed(world, way(box), expires_at=_past(hours=-1))
    endless = await accept_routed(world, way(box))
    await make_sweeper(platform).sweep()
    message = await world.message(late)
    assert (message.status, message.error_code, message.attempts) == ("expired", "EXPIRED", 0)
    assert message.failed_at is not None
    assert await queue_row(platform, late) is None
    assert await event_types(platform, late) == ["message.expired"]
    assert {await queue_row(platform, item) for item in (in_time, endless)} == {(DUE, box.id, 0)}


async def test_a_scheduled_message_expires_before_its_time_when_its_end_comes_first(
    platform: Platform, world: World
) -> None:
    later = (utc_now() + timedelta(hours=1)).isoformat()
    box = await world.connector()
    message_id = await accept_routed(
        world, way(box), status="scheduled", send_at=later, expires_at=_past(seconds=1)
    )
    await make_sweeper(platform).sweep()
    assert (await world.message(message_id)).status == "expired"


@pytest.mark.parametrize("status", ["uncertain", "sent"])
async def test_what_may_have_arrived_by_an_earlier_try_or_way_only_stops(
    platform: Platform, world: World, status: str
) -> None:
    box = await world.connector()
    message_id = await accept_routed(world, way(box), expires_at=_past(seconds=1))
    await change(platform, "UPDATE messages SET status = %s WHERE id = %s", status, message_id)
    await make_sweeper(platform).sweep()
    assert (await world.message(message_id)).status == status
    assert await queue_row(platform, message_id) is None
    assert await event_types(platform, message_id) == []


async def test_thousands_expire_in_rounds_that_follow_each_other(
    platform: Platform, world: World
) -> None:
    box = await world.connector()
    for _ in range(3):  # fewer at once than a project may have waiting
        await asyncio.gather(
            *(accept_routed(world, way(box), expires_at=_past(seconds=1)) for _ in range(400))
        )
    sweeper = make_sweeper(platform)
    await sweeper.sweep()
    assert await _statuses(platform, world) == {"expired": 500, "queued": 700}
    run = asyncio.create_task(sweeper.run())
    async with asyncio.timeout(5):
        while await _statuses(platform, world) != {"expired": 1200}:
            await asyncio.sleep(0.05)
    run.cancel()


async def _waits(platform: Platform, world: World, connector_id: UUID, *, hours: float) -> UUID:
    message_id = await accept_routed(world, way(await world.connector()))
    await change(
        platform,
        "UPDATE send_queue SET connector_id = %s, due_at = now() - 3600 * make_interval(secs => %s)"
        " WHERE message_id = %s",
        connector_id,
        hours,
        message_id,
    )
    return message_id


@pytest.mark.parametrize("why", _UNUSABLE)
async def test_a_message_too_old_behind_a_connector_that_cannot_send_has_failed(
    platform: Platform, world: World, why: str
) -> None:
    box, usable = await world.connector(), await world.connector()
    old, young = [await _waits(platform, world, box.id, hours=hours) for hours in (25, 23)]
    backlog = await _waits(platform, world, usable.id, hours=25)
    await change(platform, f"UPDATE connectors SET {why} WHERE id = %s", box.id)
    await make_sweeper(platform).sweep()
    message = await world.message(old)
    assert (message.status, message.error_code) == ("failed", "RETRIES_EXHAUSTED")
    assert await queue_row(platform, old) is None
    assert await event_types(platform, old) == ["message.failed"]
    assert {(await world.message(item)).status for item in (young, backlog)} == {"queued"}


async def test_a_connectors_own_age_counts(platform: Platform, world: World) -> None:
    box = await world.connector()
    message_id = await _waits(platform, world, box.id, hours=2)
    await change(
        platform,
        'UPDATE connectors SET is_active = false, config = \'{"retry": {"maxAgeS": 3600}}\' WHERE'
        " id = %s",
        box.id,
    )
    await make_sweeper(platform).sweep()
    assert (await world.message(message_id)).status == "failed"
