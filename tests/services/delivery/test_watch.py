"""Watching: what is uncertain is never repeated blindly, and what is not delivered in time falls
back once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest
import pytest_asyncio

from backend.ids import new_id
from backend.ledger.claims import Claim, Claims
from backend.ledger.recorder import Recorder
from backend.models import Connector
from backend.models.base import utc_now
from backend.models.send_queue import DUE, WATCHED
from backend.platform import Platform
from backend.providers.frame.errors import OutcomeUnknown, SendError, Throttled
from backend.providers.frame.provider import Accepted, OutboundMessage, ProviderContext
from backend.providers.sandbox import SandboxCredentials, SandboxProvider
from backend.services.delivery import outcomes
from backend.services.delivery.next_step import after_try
from backend.services.delivery.open_connectors import OpenConnector
from backend.services.delivery.watch import Watcher
from tests.services.delivery.routed import accept_routed, change, event_types, queue_row, way
from tests.services.delivery.watching import POLICY, SETTLE_S, make_watcher, reporting, take
from tests.world import World, make_sweeper

Answer = Accepted | SendError | None


class AskableProvider(SandboxProvider):
    """Answers with `answers` in turn, then with the last one; keeps what it was asked."""

    can_be_asked = True

    def __init__(
        self, context: ProviderContext, answers: Sequence[Answer], latency_s: float = 0.0
    ) -> None:
        super().__init__(SandboxCredentials(), context)
        self._answers = list(answers)
        self._latency_s = latency_s
        self.asked: list[str] = []

    async def find_sent(self, message: OutboundMessage) -> Accepted | None:
        self.asked.append(message.id)
        await asyncio.sleep(self._latency_s)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, SendError):
            raise answer
        return answer


@pytest_asyncio.fixture
async def box(world: World) -> AsyncIterator[Connector]:
    yield await world.connector()


async def end_in(
    platform: Platform, claim: Claim, provider: SandboxProvider | None, error: SendError | None
) -> None:
    """Record that the try was accepted as sent, or ended with `error`."""
    result = (
        outcomes.accepted(claim, Accepted(f"p-{claim.message_id}"), utc_now(), 1.0)
        if error is None
        else outcomes.failed(claim, error, POLICY, utc_now(), 1.0)
    )
    result = after_try(result, OpenConnector(claim.connector_id, provider), settle_s=SETTLE_S)
    assert (await Recorder(platform.database.raw).record(result)).is_ours


async def uncertain(
    platform: Platform,
    world: World,
    box: Connector,
    provider: SandboxProvider | None,
    **columns: object,
) -> UUID:
    message_id = await accept_routed(world, way(box), **columns)  # type: ignore[arg-type]
    await end_in(platform, await take(platform, box), provider, OutcomeUnknown("reset"))
    assert (await world.message(message_id)).status == "uncertain"
    return message_id


async def watch(watcher: Watcher, *, seconds: float = 0.0) -> None:
    """Do a round once what was put off for `seconds` is due."""
    await asyncio.sleep(seconds + 0.01)
    await watcher.round()
    await watcher.answered()


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


# -- fallbackAfter -------------------------------------------------------------------------------


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
    # The second way is accepted: the message is sent, though nobody knows of the first.
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
