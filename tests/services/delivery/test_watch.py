"""Watching: what is uncertain is never repeated blindly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from backend.ids import new_id
from backend.models import Connector
from backend.models.send_queue import DUE, WATCHED
from backend.platform import Platform
from backend.providers.frame.errors import Throttled
from backend.providers.frame.provider import Accepted
from backend.providers.sandbox import SandboxCredentials, SandboxProvider
from tests.services.delivery.routed import accept_routed, change, event_types, queue_row, way
from tests.services.delivery.watching import (
    SETTLE_S,
    AskableProvider,
    make_watcher,
    reporting,
    take,
    uncertain,
    watch,
)
from tests.world import World, make_sweeper


@pytest_asyncio.fixture
async def box(world: World) -> AsyncIterator[Connector]:
    yield await world.connector()


async def test_a_provider_that_can_be_asked_settles_an_uncertain_message(
    platform: Platform, world: World, box: Connector
) -> None:
    provider = AskableProvider(platform.providers, [Accepted("found-1")])
    message_id = await uncertain(platform, world, box, provider, on_uncertain="resend")
    row = await queue_row(platform, message_id)
    assert row is not None
    assert row[0] == WATCHED  # not repeated blindly, whatever the template says
    await watch(make_watcher(platform, provider), seconds=SETTLE_S)
    message = await world.message(message_id)
    assert (message.status, message.provider_message_id, message.error_reason) == (
        "sent",
        "found-1",
        None,
    )
    assert message.attempts == len(await world.attempts(message_id)) == 1
    assert await queue_row(platform, message_id) is None
    assert await event_types(platform, message_id) == ["message.uncertain", "message.sent"]


async def test_what_the_provider_does_not_have_is_sent_again(
    platform: Platform, world: World, box: Connector
) -> None:
    provider = AskableProvider(platform.providers, [None])
    message_id = await uncertain(platform, world, box, provider)
    await watch(make_watcher(platform, provider), seconds=SETTLE_S)
    assert await queue_row(platform, message_id) == (DUE, box.id, 1)
    await asyncio.sleep(0.03)
    again = await take(platform, box)
    assert (again.message_id, again.tries, again.attempt_number) == (message_id, 2, 2)


async def test_what_was_not_taken_in_all_its_tries_has_failed(
    platform: Platform, world: World, box: Connector
) -> None:
    provider = AskableProvider(platform.providers, [None])
    message_id = await uncertain(platform, world, box, provider)
    await change(platform, "UPDATE send_queue SET tries = 3 WHERE message_id = %s", message_id)
    await watch(make_watcher(platform, provider), seconds=SETTLE_S)
    message = await world.message(message_id)
    assert (message.status, message.error_code) == ("failed", "RETRIES_EXHAUSTED")
    assert await queue_row(platform, message_id) is None


async def test_what_was_not_taken_before_its_end_has_expired(
    platform: Platform, world: World, box: Connector
) -> None:
    provider = AskableProvider(platform.providers, [None])
    message_id = await uncertain(platform, world, box, provider)
    await change(platform, "UPDATE messages SET expires_at = now() WHERE id = %s", message_id)
    await watch(make_watcher(platform, provider), seconds=SETTLE_S)
    assert (await world.message(message_id)).status == "expired"
    assert await queue_row(platform, message_id) is None


async def test_watching_goes_on_by_itself(platform: Platform, world: World, box: Connector) -> None:
    provider = AskableProvider(platform.providers, [Accepted("found")])
    message_id = await uncertain(platform, world, box, provider)
    run = asyncio.create_task(make_watcher(platform, provider).run())
    await world.wait_for(message_id, "sent", timeout_s=5)
    run.cancel()


async def test_two_workers_ask_once(platform: Platform, world: World, box: Connector) -> None:
    provider = AskableProvider(platform.providers, [Accepted(None)], latency_s=0.2)
    ids = {await uncertain(platform, world, box, provider) for _ in range(20)}
    await asyncio.sleep(SETTLE_S + 0.02)
    watchers = [make_watcher(platform, provider) for _ in range(3)]
    counts = await asyncio.gather(*(watcher.round() for watcher in watchers))
    counts += await asyncio.gather(*(watcher.round() for watcher in watchers))
    for watcher in watchers:
        await watcher.answered()
    assert sum(counts) == len(provider.asked) == len(set(provider.asked)) == 20
    assert {(await world.message(message_id)).status for message_id in ids} == {"sent"}


async def test_a_worker_that_died_while_asking_leaves_the_question_to_another(
    platform: Platform, world: World, box: Connector
) -> None:
    dead = AskableProvider(platform.providers, [Accepted("late")], latency_s=0.5)
    message_id = await uncertain(platform, world, box, dead)
    await asyncio.sleep(SETTLE_S + 0.02)
    slow = make_watcher(platform, dead, lease_s=0.1)
    await slow.round()
    alive = AskableProvider(platform.providers, [Accepted("prompt")])
    await watch(make_watcher(platform, alive), seconds=0.15)
    assert (await world.message(message_id)).provider_message_id == "prompt"
    await slow.answered()  # its lease is over: the late answer changes nothing
    assert (await world.message(message_id)).provider_message_id == "prompt"


async def test_a_question_that_is_not_answered_is_asked_again(
    platform: Platform, world: World, box: Connector
) -> None:
    provider = AskableProvider(platform.providers, [Throttled("slow down"), Accepted("found")])
    message_id = await uncertain(platform, world, box, provider)
    watcher = make_watcher(platform, provider)
    await watch(watcher, seconds=SETTLE_S)
    assert (await world.message(message_id)).status == "uncertain"
    await change(platform, "UPDATE send_queue SET due_at = now() WHERE message_id = %s", message_id)
    await watch(watcher)
    assert (await world.message(message_id)).status == "sent"
    assert len(provider.asked) == 2


async def test_a_provider_that_never_answers_leaves_it_to_the_template(
    platform: Platform, world: World, box: Connector
) -> None:
    provider = AskableProvider(platform.providers, [Throttled("slow down")])
    message_id = await uncertain(platform, world, box, provider, on_uncertain="resend")
    await watch(make_watcher(platform, provider), seconds=4 * SETTLE_S)
    assert len(provider.asked) == 1
    assert await queue_row(platform, message_id) == (DUE, box.id, 1)


async def test_a_twins_id_does_not_settle_a_message(
    platform: Platform, world: World, box: Connector
) -> None:
    """The same text to the same recipient was sent a moment before: the provider shows that one."""
    provider = AskableProvider(platform.providers, [Accepted("twin")])
    await change(
        platform,
        "INSERT INTO provider_refs VALUES (%s, 'twin', %s, now())",
        box.id,
        twin := new_id(),
    )
    message_id = await uncertain(platform, world, box, provider)
    await watch(make_watcher(platform, provider), seconds=SETTLE_S)
    message = await world.message(message_id)
    assert (message.status, message.provider_message_id) == ("uncertain", None)
    assert twin != message_id


@pytest.mark.parametrize(("policy", "row"), [("hold", None), ("resend", DUE)])
async def test_without_a_receipt_in_time_the_template_decides(
    platform: Platform, world: World, box: Connector, policy: str, row: int | None
) -> None:
    provider = reporting(platform)
    message_id = await uncertain(platform, world, box, provider, on_uncertain=policy)
    await watch(make_watcher(platform, provider), seconds=SETTLE_S)
    result = await queue_row(platform, message_id)
    assert (result[0] if result else None) == row
    assert (await world.message(message_id)).status == "uncertain"


async def test_a_provider_with_neither_leaves_it_to_the_template_at_once(
    platform: Platform, world: World, box: Connector
) -> None:
    provider = SandboxProvider(SandboxCredentials(), platform.providers)
    held = await uncertain(platform, world, box, provider)
    assert await queue_row(platform, held) is None
    resent = await uncertain(platform, world, box, provider, on_uncertain="resend")
    assert await queue_row(platform, resent) == (DUE, box.id, 1)


async def test_a_receipt_that_came_meanwhile_ends_the_watching(
    platform: Platform, world: World, box: Connector
) -> None:
    provider = AskableProvider(platform.providers, [None])
    message_id = await uncertain(platform, world, box, provider)
    await change(platform, "UPDATE messages SET status = 'delivered' WHERE id = %s", message_id)
    await watch(make_watcher(platform, provider), seconds=SETTLE_S)
    assert provider.asked == []
    assert await queue_row(platform, message_id) is None
    assert (await world.message(message_id)).status == "delivered"


async def test_a_lost_workers_message_is_watched_where_it_can_be_settled(
    platform: Platform, world: World
) -> None:
    token = {"phoneNumberId": "1", "accessToken": "token"}
    whatsapp, box = await world.connector("whatsapp", token), await world.connector()
    settles = await accept_routed(world, way(whatsapp, to="+14155550123"), on_uncertain="resend")
    blind = await accept_routed(world, way(box), on_uncertain="resend")
    for connector in (whatsapp, box):
        await take(platform, connector)
    await change(platform, "UPDATE send_queue SET lease_until = now() - interval '1 second'")
    await make_sweeper(platform).sweep()
    assert await queue_row(platform, settles) == (WATCHED, whatsapp.id, 1)
    assert await queue_row(platform, blind) == (DUE, box.id, 1)
    assert {(await world.message(item)).status for item in (settles, blind)} == {"uncertain"}
