"""Lists that look only where the counters say: always the same rows and totals as looking
everywhere.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from backend.ids import new_id
from backend.models import Message
from backend.models.partitions import first_id
from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.lists.paging import PageRequest
from backend.services.messages.message_filters import MessageFilter
from backend.services.reporting.message_ranges import find_ranges
from backend.services.reporting.messages import list_messages
from backend.services.reporting.rollups import RollupFolder
from tests.services.stored_messages import row, save
from tests.world import World

NOW = datetime.now(UTC)
CONNECTORS = [(new_id(), "telegram"), (new_id(), "telegram"), (new_id(), "smtp")]
KEYS = [new_id(), new_id()]
FILTERS: list[dict[str, Any]] = [
    {"status": "failed"},
    {"status": "delivered"},
    {"status": "canceled"},
    {"status": "expired"},
    {"connector": "smtp"},
    {"connector": CONNECTORS[0][0]},
    {"mode": "test"},
    {"mode": "test", "status": "failed", "connector": "telegram"},
    {"status": "failed", "key_id": KEYS[1]},
    {"key_id": KEYS[1]},
    {"from_": NOW - timedelta(hours=30, minutes=7), "to": NOW - timedelta(hours=3, minutes=1)},
    {"from_": NOW - timedelta(hours=30, minutes=7), "status": "failed"},
    {"to": NOW - timedelta(minutes=50), "status": "failed"},
    {"from_": NOW - timedelta(minutes=9), "to": NOW - timedelta(minutes=2)},
]


def random_message(world: World, dice: random.Random) -> Message:
    """Some messages stand at the edges of quarter hours, and ids are messages a little before their
    rows.
    """
    at = NOW - timedelta(seconds=dice.uniform(0, 48 * 3600))
    if dice.random() < 0.3:
        at = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0) + timedelta(
            seconds=dice.uniform(-2, 2)
        )
    connector_id, connector_type = dice.choice(CONNECTORS)
    id_at = at - timedelta(milliseconds=dice.uniform(0, 3000))
    return row(
        world,
        at=at,
        id=UUID(int=first_id(id_at).int | (new_id().int & ((1 << 80) - 1))),
        connector_id=connector_id,
        connector_type=connector_type,
        key_id=dice.choice(KEYS),
        mode=dice.choice(["live", "live", "live", "test"]),
        status=dice.choices(["delivered", "failed", "canceled"], [80, 15, 1])[0],
    )


@pytest.fixture
async def history(world: World, platform: Platform) -> list[Message]:
    """Three hundred messages; the counters have folded some of them, and know the rest from their
    deltas.
    """
    dice = random.Random(7)  # noqa: S311 (the same messages in every run)
    messages = [random_message(world, dice) for _ in range(300)]
    await save(world, *messages[:200])
    await RollupFolder(platform.database.raw).fold()
    await save(world, *messages[200:])
    return sorted(messages, key=lambda message: message.id, reverse=True)


def matches(message: Message, filters: MessageFilter) -> bool:
    return (
        filters.status in {None, message.status}
        and filters.connector in {None, message.connector_id, message.connector_type}
        and filters.mode in {None, message.mode}
        and filters.key_id in {None, message.key_id}
        and (filters.from_ is None or message.created_at >= filters.from_)
        and (filters.to is None or message.created_at < filters.to + timedelta(milliseconds=1))
    )


async def test_every_filter_finds_the_same_rows_and_total_as_looking_everywhere(
    world: World, history: list[Message]
) -> None:
    for fields in FILTERS:
        filters = MessageFilter(**fields)
        expected = [message.id for message in history if matches(message, filters)]
        async with world.platform.database.session() as session:
            seen: list[UUID] = []
            page = PageRequest(limit=7)
            while True:
                got = await list_messages(
                    session, system_access(world.project_id), filters=filters, page=page
                )
                assert (got.total, got.is_total_estimate) == (len(expected), False), fields
                seen += [item.id for item in got.items]
                if got.next_cursor is None:
                    break
                page = PageRequest(limit=7, cursor=got.next_cursor)
            assert seen == expected, fields
            for offset in (5, 33):
                page = PageRequest(limit=9, offset=offset)
                got = await list_messages(
                    session, system_access(world.project_id), filters=filters, page=page
                )
                assert [item.id for item in got.items] == expected[offset : offset + 9], fields


async def test_what_changed_since_the_fold_is_found_where_it_is_now(
    world: World, platform: Platform, history: list[Message]
) -> None:
    await RollupFolder(platform.database.raw).fold()
    oldest = history[-1]
    async with platform.database.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("UPDATE messages SET status = 'expired' WHERE id = :id"), {"id": oldest.id}
        )
        await connection.execute(
            text(
                "UPDATE messages SET status = 'delivered' WHERE project_id = :p AND status ="
                " 'failed'"
            ),
            {"p": world.project_id},
        )
    async with platform.database.session() as session:
        for status, expected in (("expired", [oldest.id]), ("failed", [])):
            filters = MessageFilter(status=status)
            page = await list_messages(
                session, system_access(world.project_id), filters=filters, page=PageRequest(limit=3)
            )
            assert ([item.id for item in page.items], page.total) == (expected, len(expected))


async def test_more_places_than_are_worth_it_are_not_named(
    world: World, platform: Platform, history: list[Message]
) -> None:
    await RollupFolder(platform.database.raw).fold()
    async with platform.database.session() as session:
        rare = MessageFilter(status="failed", key_id=KEYS[0])
        assert await find_ranges(session, world.project_id, rare, most=51, most_slots=5) is None
        # Enough of them stand in few places: those are worth it.
        usual = MessageFilter(status="delivered")
        ranges = await find_ranges(session, world.project_id, usual, most=3, most_slots=5)
        assert ranges is not None
        assert ranges.is_cut


async def test_a_status_that_never_was_is_not_searched_for(
    world: World, history: list[Message]
) -> None:
    async with world.platform.database.session() as session:
        ranges = await find_ranges(
            session, world.project_id, MessageFilter(status="blocked"), most=51
        )
    assert ranges is not None
    assert (ranges.bounds, ranges.is_cut) == ([], False)
