"""Receipts before or beside the answer to their send: they wait for it, or settle it."""

from __future__ import annotations

import asyncio
import random

import pytest

from backend.ledger.recorder import Recorder
from backend.models import Connector
from backend.platform import Platform
from tests.services.delivery.routed import accept_routed, change, event_types, queue_row, way
from tests.services.receipts.sends import (
    answer,
    break_off,
    catch_up,
    provider_id,
    receipt,
    take,
    take_all,
    tell,
    waiting,
)
from tests.world import World


async def test_a_receipt_that_beats_the_answer_to_its_send_waits_for_it(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accept_routed(world, way(box))
    claim = await take(platform, box)
    await tell(platform, box, receipt(message_id, "delivered"))
    assert ((await world.message(message_id)).status, await waiting(platform)) == ("queued", 1)
    await answer(recorder, claim)
    await catch_up(platform)
    assert ((await world.message(message_id)).status, await waiting(platform)) == ("delivered", 0)
    assert await event_types(platform, message_id) == ["message.sent", "message.delivered"]


@pytest.mark.parametrize("status", ["delivered", "failed"])
async def test_a_receipt_with_our_id_waits_too_so_that_the_answer_does_not_undo_it(
    platform: Platform, world: World, box: Connector, recorder: Recorder, status: str
) -> None:
    message_id = await accept_routed(world, way(box))
    claim = await take(platform, box)
    await tell(platform, box, receipt(message_id, status, by_our_id=True, code="131026"))  # type: ignore[arg-type]
    assert (await world.message(message_id)).status == "queued"
    await answer(recorder, claim)
    await catch_up(platform)
    message = await world.message(message_id)
    assert (message.status, message.error_code) == (
        status,
        "131026" if status == "failed" else None,
    )


@pytest.mark.parametrize("on_uncertain", ["hold", "resend"])
@pytest.mark.parametrize("status", ["sent", "delivered", "failed"])
async def test_a_receipt_settles_what_is_uncertain(
    platform: Platform,
    world: World,
    box: Connector,
    recorder: Recorder,
    status: str,
    on_uncertain: str,
) -> None:
    """A message due for a resend isn't sent again once it is known that the provider has it."""
    message_id = await accept_routed(world, way(box), on_uncertain=on_uncertain)
    await break_off(recorder, await take(platform, box))
    assert (await world.message(message_id)).status == "uncertain"
    if on_uncertain == "hold":
        await change(
            platform,
            "INSERT INTO send_queue (message_id, project_id, connector_id, lane, state, tries,"
            " due_at) VALUES (%s, %s, %s, 1, 3, 1, now() + interval '1 minute') ON CONFLICT DO"
            " NOTHING",
            message_id,
            box.project_id,
            box.id,
        )
    await tell(platform, box, receipt(message_id, status, by_our_id=True))  # type: ignore[arg-type]
    message = await world.message(message_id)
    if status == "failed" and on_uncertain == "resend":
        # The next try is on its way, and it decides.
        assert (message.status, await queue_row(platform, message_id)) == (
            "uncertain",
            (0, box.id, 1),
        )
        return
    assert (message.status, message.provider_message_id) == (status, provider_id(message_id))
    assert message.error_reason is None
    assert await queue_row(platform, message_id) is None
    # The provider's id is known from now on.
    await tell(platform, box, receipt(message_id, "read"))
    assert (await world.message(message_id)).status == "read"


async def test_three_hundred_receipts_racing_their_answers_are_all_applied_once(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_ids = [await accept_routed(world, way(box)) for _ in range(150)]
    claims = await take_all(platform, box)
    assert len(claims) == len(message_ids)
    chance = random.Random(7)  # noqa: S311 (a race, not a secret)

    async def later(work: object, longest_s: float = 0.15) -> None:
        await asyncio.sleep(chance.random() * longest_s)
        await work  # type: ignore[misc]

    done = asyncio.Event()

    async def rounds() -> None:
        while not done.is_set():
            await catch_up(platform)
            await asyncio.sleep(0.005)

    workers = [asyncio.create_task(rounds()) for _ in range(2)]
    await asyncio.gather(
        *(later(answer(recorder, claim)) for claim in claims),
        *(later(tell(platform, box, receipt(id_, "delivered"))) for id_ in message_ids),
        *(later(tell(platform, box, receipt(id_, "read"))) for id_ in message_ids),
    )
    done.set()
    await asyncio.gather(*workers)
    await catch_up(platform)
    assert await waiting(platform) == 0
    assert {(await world.message(id_)).status for id_ in message_ids} == {"read"}
    for message_id in message_ids[::15]:
        types = await event_types(platform, message_id)
        assert len(types) == len(set(types))
        assert types[-1] == "message.read"
