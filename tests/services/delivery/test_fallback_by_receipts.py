"""Fallback after a receipt of failure: once, from the current way only, never after a delivery."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from backend.errors import MessageNotCancelable, MessageNotResendable
from backend.ledger.claims import Claims
from backend.ledger.fallback import FailedWay, Left, leave_failed_ways
from backend.ledger.recorder import Recorder
from backend.models.base import utc_now
from backend.models.send_queue import IN_FLIGHT, WATCHED
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
from tests.providers.fakes import FakeTwilio
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
from tests.world import World


async def leave(platform: Platform, world: World, message_id: UUID, connector_id: UUID) -> Left:
    failure = FailedWay(message_id, world.project_id, connector_id, "131026", "Not on WhatsApp.")
    async with platform.database.raw.connection() as connection:
        return await leave_failed_ways(connection, [failure])


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


async def test_a_failure_reported_before_the_answer_to_the_send_is_busy(
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
