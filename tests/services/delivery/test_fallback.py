"""Fallback: a message goes on with its next way exactly when its route says so, and is never on two
ways at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from backend.dispatch.retry import RetryPolicy
from backend.errors import MessageNotCancelable, MessageNotResendable
from backend.ids import new_id
from backend.ledger.claims import Claims
from backend.ledger.fallback import FailedWay, Left, leave_failed_ways
from backend.ledger.recorder import Recorder
from backend.models.base import utc_now
from backend.models.send_queue import DUE, IN_FLIGHT, WATCHED
from backend.platform import Platform
from backend.providers.frame.errors import Rejected
from backend.providers.frame.provider import Accepted
from backend.services.access.access import system_access
from backend.services.delivery import outcomes
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.next_step import after_try
from backend.services.delivery.open_connectors import OpenConnector
from backend.services.messages.actions import cancel_message, resend_message
from backend.services.policy.sender import Sender
from tests.providers.fakes import FakeTelegram, FakeTwilio
from tests.services.delivery.routed import (
    TELEGRAM,
    TWILIO,
    accept_routed,
    change,
    event_types,
    queue_row,
    way,
)
from tests.world import World, make_engine, make_sweeper

POLICY = RetryPolicy(max_attempts=2, base_s=0.01, cap_s=0.02, max_age_s=3600)
PHONE = "+14155550123"


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as fake:
        yield fake


@pytest_asyncio.fixture
async def twilio() -> AsyncIterator[FakeTwilio]:
    async with FakeTwilio() as fake:
        yield fake


@pytest_asyncio.fixture
async def engine(
    platform: Platform, telegram: FakeTelegram, twilio: FakeTwilio
) -> AsyncIterator[DeliveryEngine]:
    urls = {"telegram": telegram.base_url, "twilio": twilio.base_url}
    engine = make_engine(platform, base_urls=urls, retry_policy=POLICY)
    yield engine
    await engine.close(2)


async def drain_until(
    platform: Platform, world: World, engine: DeliveryEngine, message_id: UUID, *statuses: str
) -> None:
    async with asyncio.timeout(8):
        while (await world.message(message_id)).status not in statuses:
            await platform.doorbell.drain()
            await engine.drain_slice(0.3)


async def leave(platform: Platform, world: World, message_id: UUID, connector_id: UUID) -> Left:
    failure = FailedWay(message_id, world.project_id, connector_id, "131026", "Not on WhatsApp.")
    async with platform.database.raw.connection() as connection:
        return await leave_failed_ways(connection, [failure])


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


async def test_who_opted_out_by_this_refusal_is_not_asked_again_on_the_same_channel(
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


# -- receipts ------------------------------------------------------------------------------------


async def _handed_over(
    platform: Platform, world: World, engine: DeliveryEngine, **route: float
) -> tuple[UUID, UUID]:
    """A message that Telegram took, with an SMS as its next way."""
    chat, sms = await world.connector("telegram", TELEGRAM), await world.connector("twilio", TWILIO)
    message_id = await accept_routed(world, way(chat), way(sms, to=PHONE), **route)
    await drain_until(platform, world, engine, message_id, "sent")
    return message_id, chat.id


@pytest.mark.parametrize("route", [{}, {"fallback_after_s": 60.0}])
async def test_a_receipt_of_failure_takes_a_message_to_its_next_way_once(
    platform: Platform,
    world: World,
    engine: DeliveryEngine,
    twilio: FakeTwilio,
    route: dict[str, float],
) -> None:
    message_id, chat_id = await _handed_over(platform, world, engine, **route)
    row = await queue_row(platform, message_id)
    assert (row[0] if row else None) == (WATCHED if route else None)
    results = await asyncio.gather(*(leave(platform, world, message_id, chat_id) for _ in range(4)))
    assert [set(left.turns) for left in results if left.turns] == [{message_id}]
    assert all(left.busy == frozenset() for left in results)
    message = await world.message(message_id)
    assert (message.status, message.step, message.error_code) == ("sent", 1, "131026")
    platform.doorbell.ring({turn for left in results for turn in left.turns.values()})
    await platform.doorbell.drain()
    await engine.drain_slice(0.5)
    assert len(twilio.messages) == 1
    assert await event_types(platform, message_id) == [
        "message.sent",
        "message.fallback",
        "message.sent",
    ]


async def test_a_failure_without_a_next_way_or_of_an_earlier_way_changes_nothing(
    platform: Platform, world: World, engine: DeliveryEngine
) -> None:
    message_id, chat_id = await _handed_over(platform, world, engine)
    assert (await leave(platform, world, message_id, chat_id)).turns
    assert await leave(platform, world, message_id, chat_id) == Left({}, frozenset())
    single = await accept_routed(world, way(await world.connector("twilio", TWILIO), to=PHONE))
    await drain_until(platform, world, engine, single, "sent")
    assert await leave(platform, world, single, (await world.message(single)).connector_id) == Left(
        {}, frozenset()
    )


async def test_a_failure_told_before_the_sends_own_answer_is_busy(
    platform: Platform, world: World
) -> None:
    box, sms = await world.connector(), await world.connector()
    message_id = await accept_routed(world, way(box), way(sms))
    claims = Claims(platform.database.raw, lease_s=30)
    (claim,) = await claims.take([(1, box.id)], 10)
    await claims.mark_in_flight([claim])
    assert await leave(platform, world, message_id, box.id) == Left({}, frozenset({message_id}))
    assert await queue_row(platform, message_id) == (IN_FLIGHT, box.id, 1)


async def test_a_message_delivered_by_an_earlier_way_is_not_sent_by_the_next(
    platform: Platform, world: World, engine: DeliveryEngine, twilio: FakeTwilio
) -> None:
    message_id, chat_id = await _handed_over(platform, world, engine)
    left = await leave(platform, world, message_id, chat_id)
    await change(platform, "UPDATE messages SET status = 'delivered' WHERE id = %s", message_id)
    platform.doorbell.ring(left.turns.values())
    await platform.doorbell.drain()
    await engine.drain_slice(0.4)
    assert twilio.messages == []
    assert await queue_row(platform, message_id) is None


async def test_a_refusal_after_the_delivery_ends_the_message_as_delivered(
    platform: Platform, world: World
) -> None:
    """The receipt of the first way comes while the second is being refused."""
    box, sms, third = await world.connector(), await world.connector(), await world.connector()
    message_id = await accept_routed(world, way(box), way(sms), way(third))
    (claim,) = await Claims(platform.database.raw, lease_s=30).take([(1, box.id)], 10)
    await change(platform, "UPDATE messages SET status = 'delivered' WHERE id = %s", message_id)
    refused = outcomes.failed(claim, Rejected("no"), POLICY, utc_now(), 1.0)
    assert (
        await Recorder(platform.database.raw).record(
            after_try(refused, OpenConnector(box.id), settle_s=1)
        )
    ).is_ours
    assert (await world.message(message_id)).status == "delivered"
    assert await queue_row(platform, message_id) is None


async def test_what_is_accepted_as_delivered_is_not_watched(
    platform: Platform, world: World
) -> None:
    box, sms = await world.connector(), await world.connector()
    message_id = await accept_routed(world, way(box), way(sms), fallback_after_s=60.0)
    (claim,) = await Claims(platform.database.raw, lease_s=30).take([(1, box.id)], 10)
    done = outcomes.accepted(claim, Accepted("p", status="delivered"), utc_now(), 1.0)
    await Recorder(platform.database.raw).record(after_try(done, OpenConnector(box.id), settle_s=1))
    assert await queue_row(platform, message_id) is None


@pytest.mark.parametrize("is_next_way_waiting", [False, True])
async def test_a_message_that_was_handed_over_is_neither_canceled_nor_resent_while_ways_are_left(
    platform: Platform, world: World, engine: DeliveryEngine, is_next_way_waiting: bool
) -> None:
    message_id, chat_id = await _handed_over(platform, world, engine, fallback_after_s=60.0)
    if is_next_way_waiting:
        await leave(platform, world, message_id, chat_id)
    row = await queue_row(platform, message_id)
    with pytest.raises(MessageNotCancelable, match="'sent'"):
        async with platform.database.transaction() as session:
            await cancel_message(session, system_access(world.project_id), message_id=message_id)
    with pytest.raises(MessageNotResendable, match="still being worked on"):
        await resend_message(
            platform.send_path,
            Sender(system_access(world.project_id), "live"),
            message_id=message_id,
        )
    assert await queue_row(platform, message_id) == row
