"""Receipts of messages with several ways: a failed way is left, a delivery stops the others."""

from __future__ import annotations

from backend.ledger.recorder import Recorder
from backend.models import Connector, Suppression
from backend.platform import Platform
from tests.services.delivery.routed import accept_routed, event_types, queue_row, way
from tests.services.receipts.sends import (
    accepted_and_sent,
    answer,
    break_off,
    receipt,
    take,
    take_all,
    tell,
    versions,
)
from tests.world import World


async def test_a_failed_way_is_left_for_the_next_one(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    other = await world.connector()
    message_id = await accept_routed(world, way(box), way(other, to="43"), fallback_after_s=60)
    await answer(recorder, await take(platform, box))
    failure = receipt(message_id, "failed", code="131026", reason="Not on WhatsApp")
    await tell(platform, box, failure)
    message = await world.message(message_id)
    assert (message.status, message.step, message.recipient) == ("sent", 1, "43")
    assert await queue_row(platform, message_id) == (0, other.id, 0)
    # Told again, it finds the way left already.
    await tell(platform, box, failure)
    assert (await world.message(message_id)).step == 1
    assert await event_types(platform, message_id) == ["message.sent", "message.fallback"]
    await answer(recorder, await take(platform, other))
    await tell(platform, other, receipt(message_id, "failed", code="30005"))
    message = await world.message(message_id)
    assert (message.status, message.error_code) == ("failed", "30005")
    assert await queue_row(platform, message_id) is None


async def test_the_late_delivery_of_the_way_before_stops_the_next_one(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    other = await world.connector()
    message_id = await accept_routed(world, way(box), way(other), fallback_after_s=60)
    await answer(recorder, await take(platform, box))
    await tell(platform, box, receipt(message_id, "undelivered"))
    await tell(platform, box, receipt(message_id, "delivered"))
    assert (await world.message(message_id)).status == "delivered"
    assert await queue_row(platform, message_id) is None
    assert await take_all(platform, other) == []


async def test_a_message_known_to_be_sent_goes_on_waiting_for_its_delivery(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    other = await world.connector()
    message_id = await accept_routed(world, way(box), way(other), fallback_after_s=60)
    await break_off(recorder, await take(platform, box))
    await tell(platform, box, receipt(message_id, "sent", by_our_id=True))
    assert (await world.message(message_id)).status == "sent"
    assert await queue_row(platform, message_id) == (3, box.id, 1)
    await tell(platform, box, receipt(message_id, "delivered"))
    assert await queue_row(platform, message_id) is None


async def test_an_opt_out_is_remembered(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    opt_out = receipt(message_id, "failed", code="21610", reason="Answered STOP", suppress=True)
    await tell(platform, box, opt_out, opt_out)
    async with platform.database.session() as session:
        suppression = await Suppression.find(session, world.project_id, "sandbox", "42")
    assert suppression is not None
    assert (suppression.reason, suppression.message_id) == ("Answered STOP", message_id)


async def test_another_connectors_word_counts_for_nothing(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    neighbour = await world.connector()
    stranger_world = await World.make(platform)
    stranger = await stranger_world.connector()
    before = await versions(platform, [message_id])
    for connector in (neighbour, stranger):
        await tell(platform, connector, receipt(message_id, "read", by_our_id=True))
        await tell(platform, connector, receipt(message_id, "read"))
    assert await versions(platform, [message_id]) == before
