"""Fallback: a message goes on with its next way exactly when its route says so, and is never on two
ways at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from backend.ids import new_id
from backend.ledger.claims import Claims
from backend.ledger.recorder import Recorder
from backend.models.base import utc_now
from backend.models.send_queue import DUE
from backend.platform import Platform
from backend.providers.frame.errors import Rejected
from backend.services.delivery import outcomes
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.next_step import after_try
from backend.services.delivery.open_connectors import OpenConnector
from tests.providers.fakes import FakeTelegram, FakeTwilio
from tests.services.delivery.routed import (
    PHONE,
    POLICY,
    TELEGRAM,
    TWILIO,
    accept_routed,
    change,
    drain_until,
    event_types,
    queue_row,
    way,
)
from tests.world import World, make_engine, make_sweeper


async def test_a_rejected_message_goes_on_with_the_next_channel_and_not_with_the_pool(
    platform: Platform,
    world: World,
    engine: DeliveryEngine,
    telegram: FakeTelegram,
    twilio: FakeTwilio,
) -> None:
    first, mate = (
        await world.connector("telegram", TELEGRAM),
        await world.connector("telegram", TELEGRAM),
    )
    sms = await world.connector("twilio", TWILIO)
    telegram.refuse_once(400, "Bad Request: message text is empty")
    message_id = await accept_routed(
        world,
        way(first),
        way(mate, "unavailable"),
        way(sms, to=PHONE, text="as SMS"),
        status="scheduled",
    )
    await drain_until(platform, world, engine, message_id, "sent")
    message = await world.message(message_id)
    assert (message.step, message.connector_id, message.connector_type) == (2, sms.id, "twilio")
    assert (message.recipient, message.content) == (PHONE, {"text": "as SMS"})
    assert (message.error_code, message.error_reason, message.failed_at) == (None, None, None)
    assert [attempt.connector_id for attempt in await world.attempts(message_id)] == [
        first.id,
        sms.id,
    ]
    assert [attempt.number for attempt in await world.attempts(message_id)] == [1, 2]
    assert (len(telegram.messages), len(twilio.messages)) == (1, 1)
    assert await event_types(platform, message_id) == ["message.fallback", "message.sent"]
    assert await queue_row(platform, message_id) is None


async def test_when_the_last_way_refuses_the_message_has_failed(
    platform: Platform,
    world: World,
    engine: DeliveryEngine,
    telegram: FakeTelegram,
    twilio: FakeTwilio,
) -> None:
    chat, sms = await world.connector("telegram", TELEGRAM), await world.connector("twilio", TWILIO)
    telegram.refuse_once(400, "Bad Request: message text is empty")
    twilio.refuse_once(21211, "not a number")
    message_id = await accept_routed(world, way(chat), way(sms, to=PHONE))
    await drain_until(platform, world, engine, message_id, "failed")
    message = await world.message(message_id)
    assert (message.step, message.error_code, message.attempts) == (1, "21211", 2)
    assert await queue_row(platform, message_id) is None
    assert await event_types(platform, message_id) == ["message.fallback", "message.failed"]


async def test_a_way_whose_recipient_opted_out_is_skipped(
    platform: Platform,
    world: World,
    engine: DeliveryEngine,
    telegram: FakeTelegram,
    twilio: FakeTwilio,
) -> None:
    chat, sms, box = (
        await world.connector("telegram", TELEGRAM),
        await world.connector("twilio", TWILIO),
        await world.connector(),
    )
    await change(
        platform,
        "INSERT INTO suppressions (id, created_at, project_id, channel, recipient, reason) "
        "VALUES (%s, now(), %s, 'twilio', %s, '')",
        new_id(),
        world.project_id,
        PHONE,
    )
    telegram.refuse_once(400, "Bad Request: message text is empty")
    message_id = await accept_routed(world, way(chat), way(sms, to=PHONE), way(box, to="ada"))
    await drain_until(platform, world, engine, message_id, "delivered")
    assert (await world.message(message_id)).step == 2
    assert twilio.messages == []


async def test_a_recipient_who_opted_out_by_this_refusal_is_not_tried_again_on_the_same_channel(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    first, second = (
        await world.connector("telegram", TELEGRAM),
        await world.connector("telegram", TELEGRAM),
    )
    telegram.refuse_once(403, "Forbidden: bot was blocked by the user")
    message_id = await accept_routed(world, way(first), way(second))
    await drain_until(platform, world, engine, message_id, "failed")
    assert len(telegram.messages) == 1


async def test_a_message_that_gave_up_goes_on_with_the_pools_next_connector(
    platform: Platform, world: World, engine: DeliveryEngine
) -> None:
    first, mate = await world.connector(), await world.connector()
    # The sandbox is not available to this recipient for three seconds, longer than two tries take.
    message_id = await accept_routed(
        world, way(first, to="sandbox:retry"), way(mate, "unavailable", to="ada")
    )
    await drain_until(platform, world, engine, message_id, "delivered", "failed")
    message = await world.message(message_id)
    assert (message.status, message.connector_id) == ("delivered", mate.id)
    assert [attempt.connector_id for attempt in await world.attempts(message_id)] == [
        first.id,
        first.id,
        mate.id,
    ]


async def test_broken_credentials_send_the_pools_messages_on_at_once(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    first, mate = (
        await world.connector("telegram", TELEGRAM),
        await world.connector("telegram", TELEGRAM),
    )
    telegram.refuse_once(401, "Unauthorized")
    message_id = await accept_routed(world, way(first), way(mate, "unavailable"))
    await drain_until(platform, world, engine, message_id, "sent")
    assert (await world.message(message_id)).connector_id == mate.id
    assert len(telegram.messages) == 2


async def test_with_broken_credentials_and_no_way_that_can_be_used_a_message_waits(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    first, mate = (
        await world.connector("telegram", TELEGRAM),
        await world.connector("telegram", TELEGRAM),
    )
    await change(platform, "UPDATE connectors SET is_active = false WHERE id = %s", mate.id)
    telegram.refuse_once(401, "Unauthorized")
    message_id = await accept_routed(world, way(first), way(mate, "unavailable"))
    await platform.doorbell.drain()
    await engine.drain_slice(0.4)
    await make_sweeper(platform).sweep()
    assert (await world.message(message_id)).status == "queued"
    assert await queue_row(platform, message_id) == (DUE, first.id, 0)


@pytest.mark.parametrize(
    "why",
    [
        "is_active = false",
        "broken_at = now()",
        "deleted_at = now()",
        "circuit_opened_at = now(), circuit_probe_at = now() + interval '1 minute'",
    ],
)
async def test_what_waits_for_a_connector_that_cannot_be_used_moves_on(
    platform: Platform, world: World, why: str
) -> None:
    unusable, other = await world.connector(), await world.connector()
    for number in range(30):
        await accept_routed(
            world, way(unusable, to=f"r{number}"), way(other, "unavailable", to=f"r{number}")
        )
    single = await accept_routed(world, way(unusable, to="single"))
    later = await accept_routed(
        world,
        way(unusable, to="later"),
        way(other, to="later"),
        status="scheduled",
        send_at=(utc_now() + timedelta(hours=1)).isoformat(),
    )
    await platform.doorbell.drain()
    assert await make_sweeper(platform).sweep() == {
        (1, unusable.id)
    }  # nothing moves while it can be used
    await change(platform, f"UPDATE connectors SET {why} WHERE id = %s", unusable.id)
    turns = await make_sweeper(platform).sweep()
    assert (1, other.id) in turns
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT q.connector_id, m.connector_id, m.step, count(*) FROM send_queue q JOIN"
            " messages m ON m.id = q.message_id WHERE q.project_id = %s GROUP BY 1, 2, 3 ORDER"
            " BY 3",
            (world.project_id,),
        )
        assert await cursor.fetchall() == [
            (unusable.id, unusable.id, 0, 2),
            (other.id, other.id, 1, 30),
        ]
    assert (await world.message(single)).step == (await world.message(later)).step == 0


async def test_a_circuit_that_is_due_for_its_probe_keeps_its_messages(
    platform: Platform, world: World
) -> None:
    probed, other = await world.connector(), await world.connector()
    message_id = await accept_routed(world, way(probed), way(other, "unavailable"))
    await change(
        platform,
        "UPDATE connectors SET circuit_opened_at = now(), circuit_probe_at = now() WHERE id = %s",
        probed.id,
    )
    await make_sweeper(platform).sweep()
    assert await queue_row(platform, message_id) == (DUE, probed.id, 0)


async def test_a_thousand_rejections_in_two_workers_make_one_sms_each(
    platform: Platform, world: World, twilio: FakeTwilio
) -> None:
    """The sandbox refuses all; every message goes on exactly once."""
    box, sms = await world.connector(), await world.connector()
    ids = await asyncio.gather(
        *(
            accept_routed(
                world,
                way(box, to="sandbox:failed"),
                way(sms, to=f"r{number}"),
                metadata={"n": number},
            )
            for number in range(1000)
        )
    )
    engines = [make_engine(platform) for _ in range(2)]
    await platform.doorbell.drain()
    await asyncio.gather(*(engine.drain_slice(6) for engine in engines))
    await asyncio.gather(*(engine.drain_slice(1) for engine in engines))
    for engine in engines:
        await engine.close(5)
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT status, step, attempts, count(*) FROM messages WHERE project_id = %s GROUP BY"
            " 1, 2, 3",
            (world.project_id,),
        )
        assert await cursor.fetchall() == [("delivered", 1, 2, len(ids))]
        cursor = await connection.execute(
            "SELECT type, count(*) FROM events WHERE project_id = %s GROUP BY 1",
            (world.project_id,),
        )
        assert Counter(dict(await cursor.fetchall())) == {
            "message.fallback": 1000,
            "message.delivered": 1000,
        }


async def test_a_worker_that_lost_its_lease_takes_no_message_on(
    platform: Platform, world: World
) -> None:
    box, sms = await world.connector(), await world.connector()
    message_id = await accept_routed(world, way(box), way(sms))
    claims = Claims(platform.database.raw, lease_s=30)
    (claim,) = await claims.take([(1, box.id)], 10)
    await claims.release([claim])
    late = outcomes.failed(claim, Rejected("no"), POLICY, datetime.now(UTC), 1.0)
    late = after_try(late, OpenConnector(box.id), settle_s=1)
    recorded = await Recorder(platform.database.raw).record(late)
    assert not recorded.is_ours
    assert (await world.message(message_id)).step == 0
    assert await event_types(platform, message_id) == []
