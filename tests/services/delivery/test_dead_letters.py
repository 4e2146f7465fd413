"""Which messages become dead letters: those that were given up although another try may help, and
no others.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from backend.dispatch.retry import RetryPolicy
from backend.ledger.claims import Claims
from backend.ledger.recorder import Recorder
from backend.ledger.results import CONNECTOR_GONE, Result
from backend.models import Connector
from backend.platform import Platform
from backend.providers.frame.errors import OutcomeUnknown, Rejected, SendError, Unavailable
from backend.providers.frame.provider import Accepted
from backend.services.access.access import system_access
from backend.services.delivery import outcomes
from backend.services.delivery.next_step import after_try
from backend.services.delivery.open_connectors import OpenConnector
from backend.services.lists.paging import PageRequest
from backend.services.messages.dead_letters import DeadLetterFilter
from backend.services.messages.message_filters import MessageFilter
from backend.services.reporting.dead_letters import list_dead_letters
from tests.services.delivery.routed import accept_routed, change, queue_row, way
from tests.world import World, make_sweeper

ONE_TRY = RetryPolicy(max_attempts=1, base_s=0.01, cap_s=0.02, max_age_s=3600)
AWAY = Unavailable("The provider is down.")
REFUSED = Rejected("No such number.", code="21211")


async def dead(world: World) -> dict[UUID, str | None]:
    """Return the project's dead letters and why."""
    async with world.platform.database.session() as session:
        page = await list_dead_letters(
            session,
            system_access(world.project_id),
            filters=DeadLetterFilter(MessageFilter()),
            page=PageRequest(),
        )
    assert page.total == len(page.items)
    return {item.id: item.error_code for item in page.items}


async def try_once(
    platform: Platform,
    connector: Connector,
    *answers: Accepted | SendError,
    delivered_meanwhile: UUID | None = None,
) -> None:
    """Claim as many messages as there are answers, and record those in the order of acceptance."""
    claimed = await Claims(platform.database.raw, lease_s=60).take(
        [(1, connector.id)], len(answers)
    )
    claims = sorted(claimed, key=lambda claim: claim.message_id)
    assert len(claims) == len(answers)
    await change(
        platform, "UPDATE messages SET status = 'delivered' WHERE id = %s", delivered_meanwhile
    )
    recorder = Recorder(platform.database.raw)
    account = OpenConnector(connector.id, reason="The connector was deleted.")
    results = []
    for claim, answer in zip(claims, answers, strict=True):
        result: Result
        if isinstance(answer, Accepted):
            result = outcomes.accepted(claim, answer, datetime.now(UTC), 1.0)
        else:
            result = outcomes.failed(claim, answer, ONE_TRY, datetime.now(UTC), 1.0)
        results.append(after_try(result, account, settle_s=60))
    recorded = await asyncio.gather(*(recorder.record(result) for result in results))
    assert all(item.is_ours for item in recorded)


async def test_what_was_given_up_is_a_dead_letter_and_what_was_refused_or_sent_is_not(
    platform: Platform, world: World
) -> None:
    box = await world.connector()
    answers: dict[str, Accepted | SendError] = {
        "exhausted": AWAY,
        "gone": Rejected("The connector was deleted.", code=CONNECTOR_GONE),
        "refused": REFUSED,
        "sent": Accepted("provider-id"),
        "unclear": OutcomeUnknown("No answer."),
    }
    messages = {name: await accept_routed(world, way(box)) for name in answers}
    await try_once(platform, box, *answers.values())
    assert await dead(world) == {
        messages["exhausted"]: "RETRIES_EXHAUSTED",
        messages["gone"]: CONNECTOR_GONE,
    }


async def test_a_message_with_ways_is_a_dead_letter_only_when_the_last_gave_up(
    platform: Platform, world: World
) -> None:
    first, second = await world.connector(), await world.connector()
    message_id = await accept_routed(world, way(first), way(second, to="43"))
    await try_once(platform, first, AWAY)
    assert await dead(world) == {}
    assert (await queue_row(platform, message_id)) == (0, second.id, 0)
    await try_once(platform, second, AWAY)
    assert await dead(world) == {message_id: "RETRIES_EXHAUSTED"}


async def test_what_waited_too_long_for_a_connector_that_cannot_send_is_a_dead_letter(
    platform: Platform, world: World
) -> None:
    box = await world.connector()
    message_id = await accept_routed(world, way(box))
    late = await accept_routed(world, way(box), expires_at="2020-01-01T00:00:00Z")
    await change(platform, "UPDATE connectors SET is_active = false WHERE id = %s", box.id)
    await change(
        platform,
        "UPDATE send_queue SET due_at = now() - interval '25 hours' WHERE connector_id = %s",
        box.id,
    )
    await make_sweeper(platform).sweep()
    assert (await world.message(late)).status == "expired"
    assert await dead(world) == {message_id: "RETRIES_EXHAUSTED"}


async def test_a_message_that_a_receipt_has_settled_meanwhile_is_not_a_dead_letter(
    platform: Platform, world: World
) -> None:
    box = await world.connector()
    before, after = [await accept_routed(world, way(box)) for _ in range(2)]
    await try_once(platform, box, AWAY, AWAY, delivered_meanwhile=before)
    assert await dead(world) == {after: "RETRIES_EXHAUSTED"}
    await change(platform, "UPDATE messages SET status = 'delivered' WHERE id = %s", after)
    assert await dead(world) == {}
