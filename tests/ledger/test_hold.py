"""A paused campaign's messages are held by their state: not sent, still expiring, due as before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from backend.ledger.cancel import (
    cancel_campaign,
    cancel_message,
    cancel_project,
    find_deleted_projects,
)
from backend.ledger.claims import Claims
from backend.ledger.hold import hold_campaign, release_campaign, settle_forgotten
from backend.ledger.overdue import end_expired
from backend.models import Campaign, CampaignRow, Connector, SendQueueRow
from backend.models.base import utc_now
from backend.models.send_queue import CLAIMED, DUE, HELD, LANES, WATCHED
from backend.platform import Platform
from tests.services.stored_messages import row, save
from tests.world import World


@dataclass(frozen=True)
class Accepted:
    """A campaign whose rows are messages that wait for their connector."""

    campaign_id: UUID
    connector: Connector
    message_ids: list[UUID]


async def _execute(platform: Platform, statement: str, *values: object) -> list[tuple[Any, ...]]:
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(statement.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def _campaign(world: World, count: int, *, expires_at: datetime | None = None) -> Accepted:
    connector = await world.connector("sandbox")
    campaign = Campaign(
        project_id=world.project_id,
        name="Sale",
        state="running",
        mode="live",
        priority="normal",
        total_rows=count,
    )
    now = utc_now()
    messages = [
        row(world, at=now, status="queued", connector_id=connector.id, expires_at=expires_at)
        for _ in range(count)
    ]
    await save(world, campaign)
    await save(
        world,
        *messages,
        *(
            SendQueueRow(
                message_id=message.id,
                project_id=world.project_id,
                connector_id=connector.id,
                lane=LANES["normal"],
                due_at=now,
                expires_at=expires_at,
            )
            for message in messages
        ),
        *(
            CampaignRow(
                campaign_id=campaign.id,
                project_id=world.project_id,
                line=line,
                state="accepted",
                message_id=message.id,
            )
            for line, message in enumerate(messages, start=2)
        ),
    )
    return Accepted(campaign.id, connector, [message.id for message in messages])


async def _states(platform: Platform, message_ids: list[UUID]) -> list[int | None]:
    query = "SELECT message_id, state FROM send_queue WHERE message_id = ANY(%s)"
    states = dict(await _execute(platform, query, message_ids))
    return [states.get(message_id) for message_id in message_ids]


async def _pause(platform: Platform, campaign_id: UUID) -> None:
    await _execute(platform, "UPDATE campaigns SET state = 'paused' WHERE id = %s", campaign_id)
    async with platform.database.raw.connection() as connection:
        await hold_campaign(connection, campaign_id)


async def test_what_is_held_is_not_claimed_and_is_due_again_as_it_was(
    platform: Platform, world: World
) -> None:
    sale = await _campaign(world, 2)
    now, later = sale.message_ids
    put_off = "UPDATE send_queue SET due_at = due_at + interval '1 hour' WHERE message_id = %s"
    await _execute(platform, put_off, later)
    due = "SELECT message_id, due_at FROM send_queue WHERE message_id = ANY(%s) ORDER BY 1"
    before = await _execute(platform, due, sale.message_ids)
    await _pause(platform, sale.campaign_id)
    assert await _states(platform, sale.message_ids) == [HELD, HELD]
    claims = Claims(platform.database.raw, lease_s=30)
    turn = (LANES["normal"], sale.connector.id)
    assert await claims.take([turn], 10) == []
    async with platform.database.raw.connection() as connection:
        await release_campaign(connection, sale.campaign_id)
    assert await _states(platform, sale.message_ids) == [DUE, DUE]
    assert await _execute(platform, due, sale.message_ids) == before
    assert [claim.message_id for claim in await claims.take([turn], 10)] == [now]


@pytest.mark.parametrize("state", [CLAIMED, WATCHED])
async def test_what_a_worker_has_begun_is_not_held(
    platform: Platform, world: World, state: int
) -> None:
    sale = await _campaign(world, 1)
    await _execute(
        platform,
        "UPDATE send_queue SET state = %s WHERE message_id = ANY(%s)",
        state,
        sale.message_ids,
    )
    await _pause(platform, sale.campaign_id)
    assert await _states(platform, sale.message_ids) == [state]


async def test_what_is_held_expires_at_its_time(platform: Platform, world: World) -> None:
    late = await _campaign(world, 1, expires_at=utc_now() - timedelta(seconds=1))
    endless = await _campaign(world, 1)
    for sale in (late, endless):
        await _pause(platform, sale.campaign_id)
    async with platform.database.raw.connection() as connection:
        while await end_expired(connection):
            pass
    assert (await world.message(late.message_ids[0])).status == "expired"
    assert await _states(platform, late.message_ids + endless.message_ids) == [None, HELD]


async def test_what_is_held_can_be_canceled_with_its_campaign_or_alone(
    platform: Platform, world: World
) -> None:
    sale = await _campaign(world, 2)
    alone = sale.message_ids[0]
    await _pause(platform, sale.campaign_id)
    async with platform.database.raw.connection() as connection, connection.transaction():
        assert await cancel_message(connection, world.project_id, alone)
        assert not await cancel_message(connection, world.project_id, alone)
    async with platform.database.raw.connection() as connection, connection.transaction():
        assert await cancel_campaign(connection, sale.campaign_id) == 1
    for message_id in sale.message_ids:
        assert (await world.message(message_id)).status == "canceled"
        events = "SELECT type, data FROM events WHERE message_id = %s"
        assert await _execute(platform, events, message_id) == [("message.canceled", {})]
    assert await _states(platform, sale.message_ids) == [None, None]


async def test_what_a_deleted_project_has_held_is_found_and_canceled(
    platform: Platform, world: World
) -> None:
    sale = await _campaign(world, 1)
    await _pause(platform, sale.campaign_id)
    await _execute(
        platform, "UPDATE projects SET deleted_at = now() WHERE id = %s", world.project_id
    )
    async with platform.database.raw.connection() as connection, connection.transaction():
        assert world.project_id in await find_deleted_projects(connection)
        assert await cancel_project(connection, world.project_id, "Gone.") == 1
        assert world.project_id not in await find_deleted_projects(connection)
    message = await world.message(sale.message_ids[0])
    assert (message.status, message.error_reason) == ("canceled", "Gone.")


@pytest.mark.parametrize(
    ("state", "expected"), [("running", DUE), ("completed", DUE), ("canceled", None)]
)
async def test_what_older_code_forgets_to_release_or_cancel_is_settled(
    platform: Platform, world: World, state: str, expected: int | None
) -> None:
    """Code before the state HELD knows nothing about it while both run during an upgrade."""
    sale, paused = await _campaign(world, 1), await _campaign(world, 1)
    for campaign in (sale, paused):
        await _pause(platform, campaign.campaign_id)
    change = "UPDATE campaigns SET state = %s, ended_at = now() WHERE id = %s"
    await _execute(platform, change, state, sale.campaign_id)
    async with platform.database.raw.connection() as connection:
        await settle_forgotten(connection)
    assert await _states(platform, sale.message_ids + paused.message_ids) == [expected, HELD]
    status = "queued" if expected == DUE else "canceled"
    assert (await world.message(sale.message_ids[0])).status == status


async def test_what_older_code_has_paused_is_released(platform: Platform, world: World) -> None:
    sale = await _campaign(world, 1)
    due = "SELECT due_at FROM send_queue WHERE message_id = ANY(%s)"
    before = await _execute(platform, due, sale.message_ids)
    century = "UPDATE send_queue SET due_at = due_at + interval '100 years' WHERE message_id = %s"
    await _execute(platform, century, sale.message_ids[0])
    async with platform.database.raw.connection() as connection:
        await release_campaign(connection, sale.campaign_id)
    assert await _states(platform, sale.message_ids) == [DUE]
    assert await _execute(platform, due, sale.message_ids) == before


@pytest.mark.parametrize("condition", ["state = 0", f"state IN ({DUE}, {HELD})"])
async def test_expiry_finds_its_index_as_older_and_newer_code_ask(
    platform: Platform, condition: str
) -> None:
    async with platform.database.raw.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        query = (
            "EXPLAIN SELECT message_id FROM send_queue WHERE expires_at IS NOT NULL"
            f" AND expires_at <= now() AND {condition} ORDER BY expires_at LIMIT 500"
        )
        plan = await (await connection.execute(query.encode())).fetchall()
    assert "ix_send_queue_expires" in str(plan)
