"""Lists and details of messages: the right rows, in order, with the status a person should see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlmodel import col

from backend.errors import MessageNotFound, ValidationFailed
from backend.ids import new_id
from backend.models import Attempt, Event, Message
from backend.models.send_queue import CLAIMED, DUE, IN_FLIGHT
from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.lists.paging import PageRequest
from backend.services.messages.message_filters import filter_conditions
from backend.services.reporting.instants import parse_instant
from backend.services.reporting.messages import (
    _SUMMARY_COLUMNS,
    MessageFilter,
    MessageSummary,
    find_project_of,
    message_detail,
)
from tests.services.stored_messages import NOW, listed, queued, row, save
from tests.world import World


async def ids_of(world: World, **conditions: Any) -> set[UUID]:
    return {item.id for item in (await listed(world, **conditions)).items}


async def test_the_newest_comes_first_and_other_projects_stay_out(
    world: World, platform: Platform
) -> None:
    other = await World.make(platform)
    rows = [row(world, at=NOW - timedelta(minutes=n)) for n in range(3)]
    await save(world, *rows, row(other))
    page = await listed(world)
    assert [item.id for item in page.items] == [message.id for message in rows]
    assert (page.total, page.is_total_estimate, page.has_more) == (3, False, False)


async def test_an_empty_project_has_an_empty_page(world: World) -> None:
    page = await listed(world)
    assert (list(page.items), page.total, page.has_more) == ([], 0, False)


async def test_a_row_shows_what_the_reference_names(world: World) -> None:
    message = row(
        world,
        content={"text": "Hi", "subject": "S", "html": "<p>"},
        metadata_={"order": 7},
        provider_message_id="wamid.x",
        error_reason="why",
        error_code="131047",
        sent_at=NOW,
    )
    await save(world, message)
    (item,) = (await listed(world)).items
    assert (item.text, item.subject, item.error, item.error_code) == ("Hi", "S", "why", "131047")
    assert item.shown_metadata == {"order": 7, "messageId": "wamid.x"}
    assert item.sent_at == NOW


async def test_in_flight_messages_show_as_sending_and_are_found_as_such(world: World) -> None:
    due, claimed, flying = (row(world, status="queued") for _ in range(3))
    later = row(world, status="scheduled", send_at=NOW + timedelta(days=1))
    late = row(world, status="scheduled", send_at=NOW)
    done = row(world, status="sent")
    states = [
        queued(due, DUE),
        queued(claimed, CLAIMED),
        queued(flying, IN_FLIGHT),
        queued(later, DUE),
    ]
    await save(world, due, claimed, flying, later, late, done, *states, queued(late, IN_FLIGHT))
    shown = {item.id: item.status for item in (await listed(world)).items}
    assert shown == {
        due.id: "queued",
        claimed.id: "queued",
        flying.id: "sending",
        later.id: "scheduled",
        late.id: "sending",
        done.id: "sent",
    }
    assert await ids_of(world, status="sending") == {flying.id, late.id}
    assert await ids_of(world, status="queued") == {due.id, claimed.id}
    assert await ids_of(world, status="scheduled") == {later.id}
    assert await ids_of(world, status="pending") == {due.id, claimed.id, flying.id, late.id}
    assert await ids_of(world, status="sent") == {done.id}


async def test_every_filter_finds_its_own(world: World) -> None:
    key, template, connector = new_id(), new_id(), new_id()
    expected = row(
        world,
        key_id=key,
        template_id=template,
        connector_id=connector,
        connector_type="telegram",
        recipient="ann@example.com",
        mode="test",
        status="failed",
    )
    await save(world, expected, row(world), row(world, key_id=new_id(), template_id=new_id()))
    for conditions in (
        {"key_id": key},
        {"template_id": template},
        {"connector": connector},
        {"connector": "telegram"},
        {"recipient": "Ann@Example.com"},
        {"mode": "test"},
        {"status": "failed"},
        {"id": expected.id},
    ):
        assert await ids_of(world, **conditions) == {expected.id}, conditions


@pytest.mark.parametrize(
    "written", ["+14155550100", "14155550100", " +1 (415) 555-0100 ", "1415.555.0100"]
)
async def test_a_phone_number_is_found_however_it_is_written(world: World, written: str) -> None:
    message = row(world)
    await save(world, message, row(world, recipient="+14155550101"))
    assert await ids_of(world, recipient=written) == {message.id}


async def test_dates_include_their_whole_day_and_instants_their_millisecond(world: World) -> None:
    day = NOW.replace(hour=0, minute=0, second=0) - timedelta(days=2)
    last_moment = day + timedelta(days=1) - timedelta(microseconds=1)
    before, first, last, after = (
        row(world, at=at)
        for at in (day - timedelta(microseconds=1), day, last_moment, day + timedelta(days=1))
    )
    await save(world, before, first, last, after)
    date = f"{day:%Y-%m-%d}"
    result = await ids_of(
        world,
        from_=parse_instant(date, field="from"),
        to=parse_instant(date, field="to", end_of_day=True),
    )
    assert result == {first.id, last.id}
    assert await ids_of(world, from_=day, to=day) == {first.id}


async def test_an_id_made_a_little_before_its_row_does_not_lose_the_row(world: World) -> None:
    message = row(world)
    message.created_at = NOW + timedelta(seconds=5)
    await save(world, message)
    assert await ids_of(world, from_=NOW + timedelta(seconds=4)) == {message.id}
    assert await ids_of(world, to=NOW + timedelta(seconds=4)) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-31", "2024-01-31T00:00:00+00:00"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00+00:00"),
        ("2024-01-31T10:00:00", "2024-01-31T10:00:00+00:00"),
        ("2024-01-31T10:00:00.5+02:00", "2024-01-31T08:00:00.500000+00:00"),
        (
            "2024-01-31T10:00:00 02:00",
            "2024-01-31T08:00:00+00:00",
        ),  # a "+" that a URL turned into a space
    ],
)
def test_instants_are_read_as_people_write_them(text: str, expected: str) -> None:
    assert parse_instant(text, field="from").isoformat() == expected


@pytest.mark.parametrize(
    "text", ["yesterday", "2024-13-01", "31.01.2024", "", "9999-12-31T23:59:59-14:00"]
)
def test_what_is_no_instant_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_instant(text, field="to")
    assert caught.value.errors[0].field == "to"


@pytest.mark.parametrize(
    "instant",
    [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)],
)
async def test_the_ends_of_time_are_ordinary_bounds(world: World, instant: datetime) -> None:
    await save(world, row(world))
    is_past = instant.year == 1
    assert len(await ids_of(world, from_=instant)) == (1 if is_past else 0)
    assert len(await ids_of(world, to=instant)) == (0 if is_past else 1)


@pytest.mark.parametrize(
    ("conditions", "field"),
    [({"status": "lost"}, "status"), ({"from_": NOW, "to": NOW - timedelta(days=1)}, "from")],
)
async def test_a_filter_that_cannot_be_is_refused(
    world: World, conditions: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await listed(world, **conditions)
    assert caught.value.errors[0].field == field


async def test_a_cursor_walks_on_undisturbed_by_new_messages(world: World) -> None:
    rows = [row(world, at=NOW - timedelta(seconds=n)) for n in range(5)]
    await save(world, *rows)
    first = await listed(world, PageRequest(limit=2))
    assert (first.total, first.has_more) == (5, True)
    await save(world, row(world, at=NOW + timedelta(seconds=1)))
    second = await listed(world, PageRequest(limit=2, cursor=first.next_cursor))
    third = await listed(world, PageRequest(limit=2, cursor=second.next_cursor))
    seen: Sequence[MessageSummary] = [*first.items, *second.items, *third.items]
    assert [item.id for item in seen] == [message.id for message in rows]
    assert (third.has_more, third.total) == (False, 6)


async def test_an_offset_skips_and_a_page_past_the_end_knows_the_total(world: World) -> None:
    rows = [row(world, at=NOW - timedelta(seconds=n)) for n in range(3)]
    await save(world, *rows)
    page = await listed(world, PageRequest(limit=2, offset=2))
    assert ([item.id for item in page.items], page.total, page.has_more) == ([rows[2].id], 3, False)
    assert (await listed(world, PageRequest(limit=2, offset=9))).total == 3


async def test_a_total_past_ten_thousand_is_an_estimate(world: World) -> None:
    first = row(world, recipient="it's:5%", content={"text": "x"})
    await save(world, first)
    async with world.platform.database.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("""
            INSERT INTO messages (id, project_id, connector_id, connector_type, mode, recipient,
                content, status,
                priority, on_uncertain, attempts, created_at, updated_at)
            SELECT (left(id::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, project_id, connector_id,
                connector_type,
                mode, recipient, content, status, priority, on_uncertain, 0, created_at, updated_at
            FROM messages CROSS JOIN generate_series(1, 10000) n WHERE id = :id
            """),
            {"id": first.id},
        )
    page = await listed(
        world, PageRequest(limit=2), recipient="it's:5%", status="delivered", connector="sandbox"
    )
    assert page.is_total_estimate
    assert page.total >= 10_001  # never less than what was counted
    assert not (await listed(world, id=first.id)).is_total_estimate


async def test_dates_keep_other_partitions_untouched(world: World) -> None:
    """The plan of a list of one day names this month's partition only."""
    conditions = filter_conditions(world.project_id, MessageFilter(from_=NOW, to=NOW))
    query = select(col(Message.id)).where(*conditions)
    async with world.platform.database.session() as session:
        connection = await session.connection()
        compiled = query.compile(
            dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
        )
        plan = (
            (await connection.exec_driver_sql(f"EXPLAIN {compiled}", compiled.params))
            .scalars()
            .all()
        )
        tables = (await connection.execute(text("SELECT count(*) FROM pg_inherits"))).scalar_one()
    touched = [line for line in plan if "Scan" in line and "messages" in line]
    assert touched
    assert tables > len(touched)
    assert all(
        f"p{NOW:%Y%m}" in line or "default" in line for line in touched if "messages_" in line
    )


async def test_the_detail_has_attempts_and_a_timeline_in_order(world: World) -> None:
    connector = await world.connector()
    template = await world.template(name="Welcome")
    message = row(
        world,
        connector_id=connector.id,
        template_id=template.id,
        template_version=3,
        content={"text": "Hi", "html": "<p>", "template": {"name": "t"}},
    )
    attempts = [
        Attempt(
            id=new_id(),
            message_id=message.id,
            project_id=world.project_id,
            connector_id=connector.id,
            number=number,
            outcome=outcome,
            reason=outcome,
            started_at=NOW,
            duration_ms=1.5,
        )
        for number, outcome in ((1, "retry"), (2, "accepted"))
    ]
    events = [
        Event(
            id=new_id(),
            project_id=world.project_id,
            message_id=message.id,
            type=f"message.{status}",
            data={"attemptId": str(attempts[1].id), "reason": "ok"},
            created_at=NOW + timedelta(seconds=second),
        )
        for second, status in ((1, "sent"), (2, "delivered"))
    ]
    await save(world, message, *attempts, *events)
    async with world.platform.database.session() as session:
        detail = await message_detail(
            session, system_access(world.project_id), message_id=message.id
        )
    assert detail.summary.id == message.id
    assert (detail.html, detail.provider_template, detail.template_version) == (
        "<p>",
        {"name": "t"},
        3,
    )
    assert (detail.connector_name, detail.template_name, detail.key_name) == (
        "sandbox",
        "Welcome",
        None,
    )
    assert [attempt.number for attempt in detail.attempts] == [1, 2]
    assert [entry.status for entry in detail.timeline] == ["queued", "sent", "delivered"]
    assert detail.timeline[1].attempt_id == attempts[1].id


async def test_another_projects_message_does_not_exist(world: World, platform: Platform) -> None:
    message = row(await World.make(platform))
    await save(world, message)
    async with world.platform.database.session() as session:
        with pytest.raises(MessageNotFound):
            await message_detail(session, system_access(world.project_id), message_id=message.id)
        assert await find_project_of(session, message.id) == message.project_id
        with pytest.raises(MessageNotFound):
            await find_project_of(session, new_id())


def test_a_summary_without_a_provider_id_has_the_users_metadata_only() -> None:
    fields: dict[str, Any] = dict.fromkeys(_SUMMARY_COLUMNS)
    summary = MessageSummary(**{**fields, "metadata": {"a": 1}})
    assert summary.shown_metadata == {"a": 1}
    assert replace(summary, metadata=None).shown_metadata == {}


@pytest.mark.parametrize("status", ["pending", "queued"])
async def test_what_waits_comes_in_pages_too(world: World, status: str) -> None:
    rows = [row(world, at=NOW - timedelta(minutes=n), status="queued") for n in range(5)]
    ended = [row(world, at=NOW - timedelta(minutes=n), status="sent") for n in range(5)]
    # A sent one may be watched for its receipt: it has a queue row, and does not wait.
    await save(
        world, *rows, *ended, *(queued(message, DUE) for message in rows), queued(ended[0], 3)
    )
    seen = []
    page = await listed(world, PageRequest(limit=2), status=status)
    while page.next_cursor is not None:
        seen += [item.id for item in page.items]
        page = await listed(world, PageRequest(limit=2, cursor=page.next_cursor), status=status)
    assert [*seen, *(item.id for item in page.items)] == [message.id for message in rows]
    assert page.total == 5
    skipped = await listed(world, PageRequest(limit=2, offset=3), status=status)
    assert [item.id for item in skipped.items] == [message.id for message in rows[3:]]
