"""Receipts are never lost: not with the process, their words, or what others hold."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from backend import ids
from backend.ids import new_id
from backend.ledger.recorder import Recorder
from backend.models import Connector
from backend.platform import Platform
from backend.providers.frame.callbacks import Receipt
from backend.services.receipts.rounds import ReceiptRounds
from tests.services.delivery.routed import accept_routed, change, way
from tests.services.receipts.sends import (
    accepted_and_sent,
    answer,
    catch_up,
    incoming,
    provider_id,
    receipt,
    take,
    tell,
    waiting,
)
from tests.world import World


async def test_what_a_lost_process_stored_is_applied_by_the_workers(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    assert len(await platform.receipts.store(incoming(box, receipt(message_id, "delivered")))) == 1
    # Not at once: the process that stored it is the first to try.
    await catch_up(platform, every=False)
    assert (await world.message(message_id)).status == "sent"
    await change(platform, "UPDATE pending_receipts SET due_at = now()")
    rounds = ReceiptRounds(platform.receipt_applier, platform.receipts, retention_days=7)
    await rounds.round()
    assert (await world.message(message_id)).status == "delivered"


async def test_a_strangers_receipts_are_looked_at_less_and_less_often_and_then_deleted(
    platform: Platform, box: Connector
) -> None:
    await tell(
        platform, box, receipt(new_id(), "delivered"), receipt(new_id(), "read", by_our_id=True)
    )
    assert await waiting(platform) == 1  # our own id of no message of ours is settled at once
    await change(platform, "UPDATE pending_receipts SET created_at = now() - interval '1 hour'")
    await catch_up(platform)
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT extract(epoch FROM due_at - now()) FROM pending_receipts"
        )
        row = await cursor.fetchone()
    assert row is not None
    assert 1700 < row[0] < 1900  # half of its age of an hour
    await change(platform, "UPDATE pending_receipts SET created_at = now() - interval '25 hours'")
    await catch_up(platform)
    assert await waiting(platform) == 0


async def test_raw_callbacks_are_kept_for_days(platform: Platform, box: Connector) -> None:
    await tell(platform, box, body=b"\x00\xffraw")
    await tell(platform, box, body=b"old")
    await change(
        platform,
        "UPDATE callbacks SET received_at = now() - interval '8 days' WHERE body = %s AND"
        " connector_id = %s",
        b"old",
        box.id,
    )
    await platform.receipts.forget(older_than_days=7)
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT body FROM callbacks WHERE connector_id = %s", (box.id,)
        )
        assert await cursor.fetchall() == [(b"\x00\xffraw",)]


async def test_words_that_postgres_cannot_store_lose_no_receipt(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    hostile = receipt(message_id, "failed", code="1\x00" * 300, reason="\x00\ud800" + "long" * 1000)
    await tell(platform, box, hostile, Receipt("read", provider_message_id="\x00"))
    message = await world.message(message_id)
    assert message.status == "failed"
    assert "\N{REPLACEMENT CHARACTER}" in (message.error_reason or "")


async def test_the_sandbox_reports_late(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accept_routed(world, way(box))
    claim = await take(platform, box)
    at = datetime.now(UTC) + timedelta(seconds=0.3)
    ours = ids.encode(ids.MESSAGE, message_id)
    assert platform.providers.report is not None
    await platform.providers.report(
        [Receipt(status, message_id=ours, at=at) for status in ("delivered", "read")]
    )
    await answer(recorder, claim)
    await catch_up(platform, every=False)
    assert (await world.message(message_id)).status == "sent"
    await asyncio.sleep(0.35)
    await catch_up(platform, every=False)
    message = await world.message(message_id)
    assert message.status == "read"
    assert abs((message.delivered_at or at) - at) < timedelta(seconds=0.2)


@pytest.mark.parametrize(
    "at",
    [
        datetime.min,  # noqa: DTZ901 (an adapter forgets the zone)
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
        None,
    ],
)
async def test_a_time_that_no_clock_shows_is_the_time_of_arrival(
    platform: Platform, world: World, box: Connector, recorder: Recorder, at: datetime | None
) -> None:
    """As an adapter of a third party may report it."""
    message_id = await accepted_and_sent(platform, world, box, recorder)
    await tell(
        platform, box, Receipt("delivered", provider_message_id=provider_id(message_id), at=at)
    )
    message = await world.message(message_id)
    assert message.status == "delivered"
    assert message.delivered_at is not None
    assert abs(message.delivered_at - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_callback_that_cannot_be_stored_keeps_no_other_from_its_answer(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    good = incoming(box, receipt(message_id, "delivered"))
    # An adapter's mistake: a code that isn't text.
    bad = incoming(box, receipt(message_id, "read", code=5))
    answers = await asyncio.gather(
        *map(platform.receipts.store, [bad, good]), return_exceptions=True
    )
    assert isinstance(answers[0], TypeError)
    assert isinstance(answers[1], list)
    assert len(answers[1]) == 1


async def test_a_receipt_that_cannot_be_applied_keeps_no_other_waiting(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    bad = await accepted_and_sent(platform, world, box, recorder)
    good = await accepted_and_sent(platform, world, box, recorder)
    for message_id in (bad, good):
        await platform.receipts.store(incoming(box, receipt(message_id, "delivered")))
    async with platform.database.raw.connection() as connection:
        await connection.execute("UPDATE pending_receipts SET due_at = now() - interval '1 minute'")
        await connection.execute(
            "UPDATE messages SET status = 'lost in thought' WHERE id = %s", (bad,)
        )
    await platform.receipt_applier.apply_due()
    assert (await world.message(good)).status == "delivered"
    async with platform.database.raw.connection() as connection:
        await connection.execute("DELETE FROM pending_receipts")
