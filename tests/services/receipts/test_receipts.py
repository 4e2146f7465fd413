"""Receipts against the database: by rank, once each, before or after the answer to the send, and
never lost.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend import ids
from backend.ids import new_id
from backend.ledger.recorder import Recorder
from backend.models import Connector, Suppression
from backend.models.message_rollup import TO_DELIVERY
from backend.platform import Platform
from backend.providers.frame.callbacks import Receipt
from backend.services.receipts.rounds import ReceiptRounds
from backend.status import RANK, Status
from tests.services.delivery.routed import accept_routed, change, event_types, queue_row, way
from tests.services.receipts.sends import (
    answer,
    break_off,
    catch_up,
    incoming,
    provider_id,
    receipt,
    take,
    take_all,
    tell,
    versions,
    waiting,
)
from tests.world import World


@pytest.fixture
async def box(world: World) -> Connector:
    return await world.connector()


@pytest.fixture
def recorder(platform: Platform) -> Recorder:
    return Recorder(platform.database.raw, platform.doorbell)


async def _sent(platform: Platform, world: World, box: Connector, recorder: Recorder) -> UUID:
    message_id = await accept_routed(world, way(box))
    await answer(recorder, await take(platform, box))
    return message_id


async def test_receipts_move_the_status_and_tell_it_once(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await _sent(platform, world, box, recorder)
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
    message_id = await _sent(platform, world, box, recorder)
    at = datetime.now(UTC)
    reported = receipt(message_id, "delivered", at=at)
    await tell(platform, box, reported, body=b"the same bytes")
    before = await versions(platform, [message_id])
    assert await platform.receipts.store(incoming(box, reported, body=b"the same bytes")) == []
    # In other bytes it is another callback, with nothing new in it.
    await tell(platform, box, reported, reported, receipt(message_id, "sent"))
    assert await versions(platform, [message_id]) == before
    assert await waiting(platform) == 0


async def test_a_late_receipt_never_moves_a_status_back(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await _sent(platform, world, box, recorder)
    await tell(platform, box, receipt(message_id, "read"))
    await tell(platform, box, receipt(message_id, "failed", code="131026", reason="Gone"))
    message = await world.message(message_id)
    assert (message.status, message.error_code, message.failed_at) == ("read", None, None)
    assert message.delivered_at is not None


async def test_a_failure_is_told_with_its_reason_and_outdone_by_a_delivery(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await _sent(platform, world, box, recorder)
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
    message_id = await _sent(platform, world, box, recorder)
    far = datetime.now(UTC) + timedelta(days=400)
    await tell(platform, box, receipt(message_id, "read", at=far))
    message = await world.message(message_id)
    assert message.read_at is not None
    assert message.created_at <= message.read_at <= datetime.now(UTC)
    await tell(platform, box, receipt(message_id, "delivered", at=datetime(2001, 1, 1, tzinfo=UTC)))
    assert (await world.message(message_id)).delivered_at == message.created_at


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
async def test_one_with_our_own_id_waits_too_so_that_the_answer_does_not_undo_it(
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
    """And a message that was to be sent again is not, once it is known to have been taken."""
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
    message_id = await _sent(platform, world, box, recorder)
    reported = receipt(message_id, "failed", code="21610", reason="Answered STOP", suppress=True)
    await tell(platform, box, reported, reported)
    async with platform.database.session() as session:
        suppression = await Suppression.find(session, world.project_id, "sandbox", "42")
    assert suppression is not None
    assert (suppression.reason, suppression.message_id) == ("Answered STOP", message_id)


async def test_another_connectors_word_counts_for_nothing(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await _sent(platform, world, box, recorder)
    neighbour = await world.connector()
    stranger_world = await World.make(platform)
    stranger = await stranger_world.connector()
    before = await versions(platform, [message_id])
    for connector in (neighbour, stranger):
        await tell(platform, connector, receipt(message_id, "read", by_our_id=True))
        await tell(platform, connector, receipt(message_id, "read"))
    assert await versions(platform, [message_id]) == before


async def test_what_a_lost_process_stored_is_applied_by_the_workers(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await _sent(platform, world, box, recorder)
    assert len(await platform.receipts.store(incoming(box, receipt(message_id, "delivered")))) == 1
    # Not at once: the process that stored it is the first to try.
    await catch_up(platform, every=False)
    assert (await world.message(message_id)).status == "sent"
    await change(platform, "UPDATE pending_receipts SET due_at = now()")
    rounds = ReceiptRounds(platform.receipt_applier, platform.receipts, retention_days=7)
    await rounds.round()
    assert (await world.message(message_id)).status == "delivered"


async def test_a_strangers_receipts_are_looked_for_less_and_less_and_then_forgotten(
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
    message_id = await _sent(platform, world, box, recorder)
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
        *(later(tell(platform, box, receipt(item, "delivered"))) for item in message_ids),
        *(later(tell(platform, box, receipt(item, "read"))) for item in message_ids),
    )
    done.set()
    await asyncio.gather(*workers)
    await catch_up(platform)
    assert await waiting(platform) == 0
    assert {(await world.message(item)).status for item in message_ids} == {"read"}
    for item in message_ids[::15]:
        types = await event_types(platform, item)
        assert len(types) == len(set(types))
        assert types[-1] == "message.read"


async def test_time_to_delivery_follows_receipts(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> None:
    message_id = await _sent(platform, world, box, recorder)

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


STEPS = st.lists(st.sampled_from(["sent", "delivered", "read", "failed"]), max_size=5)


@st.composite
def histories(draw: st.DrawFn) -> list[str]:
    """Receipts with repetitions, and the answer to the send (or its loss) somewhere between
    them.
    """
    reported = draw(STEPS)
    reported += draw(st.lists(st.sampled_from(reported), max_size=2)) if reported else []
    place = draw(st.integers(0, len(reported)))
    return [
        *reported[:place],
        draw(st.sampled_from(["answer", "answer", "break"])),
        *reported[place:],
    ]


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
            live(item, steps, by_our_id=ours)
            for item, (steps, ours) in zip(message_ids, plans, strict=True)
        )
    )
    await catch_up(platform)
    for message_id, (steps, by_our_id) in zip(message_ids, plans, strict=True):
        known = [Status(item) for item in steps if item not in {"answer", "break"}]
        # Without our id nobody can say whose the receipt of a lost answer is.
        reached = known if by_our_id or "answer" in steps else []
        mine = Status.SENT if "answer" in steps else Status.UNCERTAIN
        expected = max([mine, *reached], key=lambda status: RANK[status])
        assert (await world.message(message_id)).status == expected, steps
        types = await event_types(platform, message_id)
        assert len(types) == len(set(types)), types


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
    message_id = await _sent(platform, world, box, recorder)
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
    message_id = await _sent(platform, world, box, recorder)
    good = incoming(box, receipt(message_id, "delivered"))
    # An adapter's mistake: a code that is no text.
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
    bad = await _sent(platform, world, box, recorder)
    good = await _sent(platform, world, box, recorder)
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
