"""Falling back after a wait: what is not delivered in time goes on with its next way, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio

from backend.ledger.claims import Claim, Claims
from backend.ledger.recorder import Recorder
from backend.models import Connector
from backend.models.base import utc_now
from backend.models.send_queue import DUE, WATCHED
from backend.platform import Platform
from backend.providers.frame.errors import OutcomeUnknown
from backend.providers.frame.provider import Accepted
from backend.services.delivery import outcomes
from backend.services.delivery.next_step import after_try
from backend.services.delivery.open_connectors import OpenConnector
from tests.services.delivery.routed import accept_routed, change, event_types, queue_row, way
from tests.services.delivery.watching import (
    SETTLE_S,
    AskableProvider,
    end_in,
    make_watcher,
    reporting,
    take,
    watch,
)
from tests.world import World


@pytest_asyncio.fixture
async def box(world: World) -> AsyncIterator[Connector]:
    yield await world.connector()


async def _sent(
    platform: Platform, world: World, box: Connector, **columns: object
) -> tuple[UUID, Connector]:
    other = await world.connector()
    message_id = await accept_routed(world, way(box), way(other), fallback_after_s=0.1, **columns)
    await end_in(platform, await take(platform, box), None, None)
    assert await queue_row(platform, message_id) == (WATCHED, box.id, 1)
    return message_id, other


async def test_what_is_not_delivered_in_time_goes_on_once(
    platform: Platform, world: World, box: Connector
) -> None:
    message_id, other = await _sent(platform, world, box)
    watchers = [make_watcher(platform, None) for _ in range(3)]
    await asyncio.sleep(0.12)
    assert sum(await asyncio.gather(*(watcher.round() for watcher in watchers))) == 1
    assert await queue_row(platform, message_id) == (DUE, other.id, 0)
    message = await world.message(message_id)
    assert (message.status, message.step, message.error_code) == ("sent", 1, "NOT_DELIVERED")
    assert message.attempts == 1
    assert await event_types(platform, message_id) == ["message.sent", "message.fallback"]


async def test_a_way_is_left_its_time(platform: Platform, world: World, box: Connector) -> None:
    message_id = await accept_routed(
        world, way(box), way(await world.connector()), fallback_after_s=60.0
    )
    await end_in(platform, await take(platform, box), None, None)
    assert await make_watcher(platform, None).round() == 0
    assert await queue_row(platform, message_id) == (WATCHED, box.id, 1)


@pytest.mark.parametrize("status", ["delivered", "read"])
async def test_what_was_delivered_in_time_stays(
    platform: Platform, world: World, box: Connector, status: str
) -> None:
    message_id, _ = await _sent(platform, world, box)
    await change(platform, "UPDATE messages SET status = %s WHERE id = %s", status, message_id)
    await watch(make_watcher(platform, None), seconds=0.1)
    assert await queue_row(platform, message_id) is None
    assert (await world.message(message_id)).step == 0


async def test_a_message_past_its_end_does_not_fall_back(
    platform: Platform, world: World, box: Connector
) -> None:
    message_id, _ = await _sent(platform, world, box)
    await change(platform, "UPDATE messages SET expires_at = now() WHERE id = %s", message_id)
    await watch(make_watcher(platform, None), seconds=0.1)
    assert await queue_row(platform, message_id) is None
    assert (await world.message(message_id)).status == "sent"


async def test_with_no_way_open_a_sent_message_stays_sent(
    platform: Platform, world: World, box: Connector
) -> None:
    message_id, other = await _sent(platform, world, box)
    await change(platform, "UPDATE connectors SET deleted_at = now() WHERE id = %s", other.id)
    await watch(make_watcher(platform, None), seconds=0.1)
    assert await queue_row(platform, message_id) is None
    message = await world.message(message_id)
    assert (message.status, message.step, message.error_code) == ("sent", 0, None)


async def test_an_uncertain_message_that_is_held_falls_back_in_time(
    platform: Platform, world: World, box: Connector
) -> None:
    other = await world.connector()
    message_id = await accept_routed(world, way(box), way(other), fallback_after_s=0.3)
    provider = reporting(platform)
    await end_in(platform, await take(platform, box), provider, OutcomeUnknown("reset"))
    watcher = make_watcher(platform, provider)
    await watch(watcher, seconds=SETTLE_S)
    assert await queue_row(platform, message_id) == (WATCHED, box.id, 1)
    await watch(watcher, seconds=0.3)
    assert await queue_row(platform, message_id) == (DUE, other.id, 0)
    # The second way is accepted: the message is sent, though nobody knows about the first.
    await end_in(platform, await take(platform, other), provider, None)
    assert (await world.message(message_id)).status == "sent"
    assert await queue_row(platform, message_id) is None


async def test_an_uncertain_second_way_of_a_sent_message_is_not_taken_for_sent(
    platform: Platform, world: World, box: Connector
) -> None:
    """Its status stays `sent`, which never goes back; that its last attempt is uncertain
    decides.
    """
    message_id, other = await _sent(platform, world, box)
    provider = AskableProvider(platform.providers, [Accepted("second")])
    await watch(make_watcher(platform, None), seconds=0.1)
    await end_in(platform, await take(platform, other), provider, OutcomeUnknown("reset"))
    message = await world.message(message_id)
    assert (message.status, message.provider_message_id) == ("sent", None)
    await watch(make_watcher(platform, provider), seconds=SETTLE_S)
    message = await world.message(message_id)
    assert (message.status, message.provider_message_id) == ("sent", "second")
    assert await queue_row(platform, message_id) is None


async def test_a_thousand_messages_fall_back_once_each_through_two_workers(
    platform: Platform, world: World
) -> None:
    box, other = await world.connector(), await world.connector()
    for start in range(0, 1200, 400):  # fewer at once than a project may have waiting
        ways = [(way(box, to=f"{n}"), way(other, to=f"{n}")) for n in range(start, start + 400)]
        await asyncio.gather(*(accept_routed(world, *both, fallback_after_s=0.01) for both in ways))
    claims: list[Claim] = []
    while batch := await Claims(platform.database.raw, lease_s=30).take([(1, box.id)], 100):
        claims += batch
    recorder = Recorder(platform.database.raw)
    results = [
        after_try(
            outcomes.accepted(claim, Accepted(f"p{claim.message_id}"), utc_now(), 1.0),
            OpenConnector(box.id),
            settle_s=SETTLE_S,
        )
        for claim in claims
    ]
    await asyncio.gather(*(recorder.record(result) for result in results))
    await asyncio.sleep(0.02)
    counts = await asyncio.gather(*(make_watcher(platform, None).round() for _ in range(2)))
    assert sum(counts) == 1200
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT q.connector_id, q.state, m.step, m.status, count(*) FROM send_queue q "
            "JOIN messages m ON m.id = q.message_id WHERE q.project_id = %s GROUP BY 1, 2, 3, 4",
            (world.project_id,),
        )
        assert await cursor.fetchall() == [(other.id, DUE, 1, "sent", 1200)]
