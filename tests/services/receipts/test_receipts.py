"""Receipts against the database: by rank, once each."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.ledger.recorder import Recorder
from backend.models import Connector
from backend.models.message_rollup import TO_DELIVERY
from backend.platform import Platform
from backend.status import RANK, Status
from tests.services.delivery.routed import accept_routed, change, event_types, way
from tests.services.receipts.sends import (
    accepted_and_sent,
    answer,
    break_off,
    catch_up,
    incoming,
    receipt,
    take_all,
    tell,
    versions,
    waiting,
)
from tests.world import World

STEPS = st.lists(st.sampled_from(["sent", "delivered", "read", "failed"]), max_size=5)


async def test_receipts_move_the_status_with_one_event_each(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    at = datetime.now(UTC)
    await tell(platform, box, receipt(message_id, "sent"), receipt(message_id, "delivered", at=at))
    message = await world.message(message_id)
    assert (message.status, message.delivered_at, message.read_at) == ("delivered", at, None)
    await tell(platform, box, receipt(message_id, "read"))
    message = await world.message(message_id)
    assert (message.status, message.delivered_at) == ("read", at)
    assert message.read_at is not None
    assert await event_types(platform, message_id) == [
        "message.sent",
        "message.delivered",
        "message.read",
    ]
    assert await waiting(platform) == 0


async def test_the_same_receipt_twice_writes_nothing(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    at = datetime.now(UTC)
    delivery = receipt(message_id, "delivered", at=at)
    await tell(platform, box, delivery, body=b"the same bytes")
    before = await versions(platform, [message_id])
    assert await platform.receipts.store(incoming(box, delivery, body=b"the same bytes")) == []
    # In other bytes it is another callback, with nothing new in it.
    await tell(platform, box, delivery, delivery, receipt(message_id, "sent"))
    assert await versions(platform, [message_id]) == before
    assert await waiting(platform) == 0


async def test_a_late_receipt_never_moves_a_status_back(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    await tell(platform, box, receipt(message_id, "read"))
    await tell(platform, box, receipt(message_id, "failed", code="131026", reason="Gone"))
    message = await world.message(message_id)
    assert (message.status, message.error_code, message.failed_at) == ("read", None, None)
    assert message.delivered_at is not None


async def test_a_failure_has_its_reason_and_gives_way_to_a_delivery(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    await tell(
        platform, box, receipt(message_id, "failed", code="131026", reason="Not on WhatsApp")
    )
    message = await world.message(message_id)
    assert (message.status, message.error_code, message.error_reason) == (
        "failed",
        "131026",
        "Not on WhatsApp",
    )
    await tell(platform, box, receipt(message_id, "delivered"))
    message = await world.message(message_id)
    assert (message.status, message.error_code, message.failed_at) == ("delivered", None, None)


async def test_instants_lie_between_the_message_and_its_receipt(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)
    far = datetime.now(UTC) + timedelta(days=400)
    await tell(platform, box, receipt(message_id, "read", at=far))
    message = await world.message(message_id)
    assert message.read_at is not None
    assert message.created_at <= message.read_at <= datetime.now(UTC)
    await tell(platform, box, receipt(message_id, "delivered", at=datetime(2001, 1, 1, tzinfo=UTC)))
    assert (await world.message(message_id)).delivered_at == message.created_at


async def test_time_to_delivery_follows_receipts(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await accepted_and_sent(platform, world, box, recorder)

    async def bins() -> dict[str, int]:
        async with platform.database.raw.connection() as connection:
            cursor = await connection.execute(
                "SELECT value, sum(messages) FROM (SELECT value, messages FROM rollup_deltas WHERE"
                " project_id = %(p)s AND measure = %(m)s UNION ALL SELECT value, messages FROM"
                " message_rollups WHERE project_id = %(p)s AND measure = %(m)s AND grain = 15) d"
                " GROUP BY value HAVING sum(messages) <> 0",
                {"p": world.project_id, "m": TO_DELIVERY},
            )
            return {value: int(count) for value, count in await cursor.fetchall()}

    assert await bins() == {}
    created_at = (await world.message(message_id)).created_at
    await change(
        platform,
        "UPDATE messages SET created_at = now() - interval '10 s' WHERE id = %s",
        message_id,
    )
    created_at -= timedelta(seconds=10)
    await tell(platform, box, receipt(message_id, "read", at=created_at + timedelta(seconds=8)))
    (later,) = await bins()
    # The delivery itself was earlier: the message moves to another bin, and is in one only.
    await tell(
        platform, box, receipt(message_id, "delivered", at=created_at + timedelta(seconds=1))
    )
    assert [(int(value) < int(later), count) for value, count in (await bins()).items()] == [
        (True, 1)
    ]
    await tell(
        platform, box, receipt(message_id, "delivered", at=created_at + timedelta(seconds=1))
    )
    assert sum((await bins()).values()) == 1


@st.composite
def histories(draw: st.DrawFn) -> list[str]:
    """Receipts with repetitions, and the answer to the send (or its loss) somewhere between
    them.
    """
    steps = draw(STEPS)
    steps += draw(st.lists(st.sampled_from(steps), max_size=2)) if steps else []
    place = draw(st.integers(0, len(steps)))
    end = draw(st.sampled_from(["answer", "answer", "break"]))
    return [*steps[:place], end, *steps[place:]]


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(plans=st.lists(st.tuples(histories(), st.booleans()), min_size=40, max_size=40))
async def test_every_history_ends_in_its_highest_status(
    platform: Platform, world: World, plans: list[tuple[list[str], bool]]
) -> None:
    box, recorder = await world.connector(), Recorder(platform.database.raw, platform.doorbell)
    message_ids = [await accept_routed(world, way(box)) for _ in plans]
    claims = {claim.message_id: claim for claim in await take_all(platform, box)}

    async def live(message_id: UUID, steps: list[str], *, by_our_id: bool) -> None:
        for step in steps:
            if step == "answer":
                await answer(recorder, claims[message_id])
            elif step == "break":
                await break_off(recorder, claims[message_id])
            else:
                await tell(platform, box, receipt(message_id, step, by_our_id=by_our_id))  # type: ignore[arg-type]

    await asyncio.gather(
        *(
            live(message_id, steps, by_our_id=ours)
            for message_id, (steps, ours) in zip(message_ids, plans, strict=True)
        )
    )
    await catch_up(platform)
    for message_id, (steps, by_our_id) in zip(message_ids, plans, strict=True):
        known = [Status(step) for step in steps if step not in {"answer", "break"}]
        # Without our id there is no telling whose the receipt of a lost answer is.
        reached = known if by_our_id or "answer" in steps else []
        answered = Status.SENT if "answer" in steps else Status.UNCERTAIN
        expected = max([answered, *reached], key=lambda status: RANK[status])
        assert (await world.message(message_id)).status == expected, steps
        types = await event_types(platform, message_id)
        assert len(types) == len(set(types)), types
