"""Campaigns as workers feed them: each row once, whatever dies meanwhile; pause and cancel act at
once.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

from backend.models import Campaign
from backend.services.access.access import system_access
from backend.services.campaigns.campaigns import (
    NewCampaign,
    cancel_campaign,
    create_campaign,
    pause_campaign,
    read_rows,
    resume_campaign,
)
from backend.services.campaigns.csv_file import CsvFile
from backend.services.campaigns.plan import CampaignPlan
from backend.services.policy.sender import Sender
from tests.providers.fakes import FakeTelegram
from tests.workers.conftest import Worker
from tests.world import World

TOKEN = {"botToken": "123456:test-token-0123456789abcdefghijklm"}
ROWS = 5000
StartWorker = Callable[..., Worker]


async def _campaign(world: World, rows: int, connector_id: UUID) -> UUID:
    table = "to,name\n" + "".join(f"{100_000 + number},Ada {number}\n" for number in range(rows))
    file = await CsvFile.open(io.BytesIO(table.encode()), most_rows=rows)
    plan = CampaignPlan(
        file.columns,
        {"to": "to", "name": "name"},
        connector_id=connector_id,
        message="Hello {{name}}",
    )
    platform, caller, new = (
        world.platform,
        Sender(system_access(world.project_id), "live"),
        NewCampaign("Sale", plan),
    )
    with await read_rows(platform.send_path, caller, new=new, file=file) as read:
        async with platform.database.transaction() as session:
            campaign = await create_campaign(session, caller, new=new, rows=read)
    return campaign.id


async def _count(world: World, query: str, campaign_id: UUID) -> int:
    async with world.platform.database.raw.connection() as connection:
        row = await (await connection.execute(query, (campaign_id,))).fetchone()
    assert row is not None
    count: int = row[0]
    return count


async def _messages(world: World, campaign_id: UUID) -> int:
    return await _count(world, "SELECT count(*) FROM messages WHERE campaign_id = %s", campaign_id)


async def _state(world: World, campaign_id: UUID) -> Campaign:
    async with world.platform.database.session() as session:
        campaign = await Campaign.find(session, world.project_id, campaign_id)
    assert campaign is not None
    return campaign


async def _until(condition: Callable[[], Any], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_every_row_becomes_one_message_although_workers_are_killed(
    world: World, start_worker: StartWorker
) -> None:
    first, second = await asyncio.gather(
        asyncio.to_thread(start_worker), asyncio.to_thread(start_worker)
    )
    campaign_id = await _campaign(world, ROWS, (await world.connector()).id)

    async def has_begun() -> bool:
        return await _messages(world, campaign_id) > 500

    await _until(has_begun)
    for worker in (first, second):
        worker.process.kill()
        await asyncio.to_thread(worker.process.wait, 5)
    assert await _messages(world, campaign_id) < ROWS
    await asyncio.to_thread(start_worker, LEASE_S="2", PROVIDER_TIMEOUT_S="1")

    async def has_ended() -> bool:
        return (await _state(world, campaign_id)).state == "completed"

    await _until(has_ended, 60)
    ended = await _state(world, campaign_id)
    assert (ended.total_rows, ended.accepted_rows, ended.failed_rows) == (ROWS, ROWS, 0)
    assert await _messages(world, campaign_id) == ROWS
    recipients = "SELECT count(DISTINCT recipient) FROM messages WHERE campaign_id = %s"
    assert await _count(world, recipients, campaign_id) == ROWS
    named = (
        "SELECT count(*) FROM campaign_rows r JOIN messages m ON m.id = r.message_id WHERE"
        " r.campaign_id = %s"
    )
    assert await _count(world, named, campaign_id) == ROWS


async def test_a_paused_campaign_stops_and_goes_on_where_it_was(
    world: World, start_worker: StartWorker, telegram: FakeTelegram
) -> None:
    telegram.latency_s = 0.1
    await asyncio.to_thread(start_worker, DELIVERY_CONCURRENCY="20", CAMPAIGN_AHEAD="300")
    connector = await world.connector("telegram", TOKEN, config={"pacing": None})
    campaign_id = await _campaign(world, 600, connector.id)

    async def is_sending() -> bool:
        return len(telegram.messages) > 20

    await _until(is_sending)
    async with asyncio.timeout(10), world.platform.database.transaction() as session:
        await pause_campaign(session, system_access(world.project_id), campaign_id=campaign_id)
    await asyncio.sleep(1)  # what a worker held goes out
    sent, accepted = len(telegram.messages), await _messages(world, campaign_id)
    assert sent < accepted < 600
    await asyncio.sleep(1.2)  # longer than a sweep
    assert (len(telegram.messages), await _messages(world, campaign_id)) == (sent, accepted)
    telegram.latency_s = 0
    async with world.platform.database.transaction() as session:
        await resume_campaign(session, system_access(world.project_id), campaign_id=campaign_id)

    async def has_ended() -> bool:
        return (await _state(world, campaign_id)).state == "completed"

    await _until(has_ended)
    assert len(telegram.messages) == 600
    assert len({message.body["chat_id"] for message in telegram.messages}) == 600


async def test_a_canceled_campaign_sends_nothing_more(
    world: World, start_worker: StartWorker, telegram: FakeTelegram
) -> None:
    telegram.latency_s = 0.1
    await asyncio.to_thread(start_worker, DELIVERY_CONCURRENCY="20", CAMPAIGN_AHEAD="300")
    connector = await world.connector("telegram", TOKEN, config={"pacing": None})
    campaign_id = await _campaign(world, 1000, connector.id)

    async def is_sending() -> bool:
        return len(telegram.messages) > 20

    await _until(is_sending)
    async with world.platform.database.transaction() as session:
        canceled = await cancel_campaign(
            session, system_access(world.project_id), campaign_id=campaign_id
        )
    accepted = canceled.accepted_rows or 0
    await asyncio.sleep(1.5)
    sent = len(telegram.messages)
    by_status = "SELECT count(*) FROM messages WHERE campaign_id = %s AND status = "
    assert await _count(world, by_status + "'canceled'", campaign_id) == accepted - sent
    assert await _messages(world, campaign_id) == accepted
    assert await _count(world, by_status + "'sent'", campaign_id) == sent
    left = (
        "SELECT count(*) FROM send_queue q JOIN messages m ON m.id = q.message_id WHERE"
        " m.campaign_id = %s"
    )
    assert await _count(world, left, campaign_id) == 0
    events = (
        "SELECT count(*) FROM events e JOIN messages m ON m.id = e.message_id WHERE m.campaign_id ="
        " %s AND e.type = "
    )
    assert await _count(world, events + "'message.canceled'", campaign_id) == accepted - sent
