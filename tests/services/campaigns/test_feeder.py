"""Feeding: a campaign that fails is paused and its owners are told, once; the other campaigns are
fed.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from backend import ids
from backend.models import Campaign, ProjectMember
from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.accounts.mail import PlatformMail
from backend.services.campaigns.campaigns import NewCampaign, create_campaign, read_rows
from backend.services.campaigns.csv_file import CsvFile
from backend.services.campaigns.feeder import CampaignFeeder
from backend.services.campaigns.plan import Plan
from backend.services.policy.sender import Sender
from tests.providers.fakes import FakeSmtp
from tests.world import World


@pytest_asyncio.fixture
async def smtp(platform: Platform) -> AsyncIterator[FakeSmtp]:
    async with FakeSmtp() as smtp:
        yield smtp


@pytest_asyncio.fixture
async def feeder(platform: Platform, smtp: FakeSmtp) -> AsyncIterator[CampaignFeeder]:
    await _execute(platform, "UPDATE campaigns SET state = 'canceled'")  # what other tests left
    url = SecretStr(f"smtp://{smtp.host}:{smtp.port}?security=none&from=hello@example.com")
    mail = PlatformMail(
        platform.settings.model_copy(update={"platform_smtp_url": url}), platform.providers
    )
    yield CampaignFeeder(replace(platform.campaigns, mail=mail), ahead=5000)
    await mail.aclose()


async def _execute(platform: Platform, statement: str, parameters: Any = None) -> list[Any]:
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(statement, parameters)
        return await cursor.fetchall() if cursor.description else []


async def _campaign(world: World, rows: int = 3, *, message: str = "Hello {{name}}") -> UUID:
    connector = await world.connector()
    table = "to,name\n" + "".join(f"{100_000 + number},Ada {number}\n" for number in range(rows))
    file = await CsvFile.open(io.BytesIO(table.encode()), most_rows=rows)
    mapping = {"to": "to", "name": "name"}
    plan = Plan(file.columns, mapping, connector_id=connector.id, message=message)
    caller, new = Sender(system_access(world.project_id), "live"), NewCampaign("Sale", plan)
    with await read_rows(world.platform.send_path, caller, new=new, file=file) as read:
        async with world.platform.database.transaction() as session:
            campaign = await create_campaign(session, caller, new=new, rows=read)
    return campaign.id


async def _feed(feeder: CampaignFeeder) -> None:
    async with asyncio.timeout(20):
        while await feeder.feed():
            pass


async def _state(platform: Platform, campaign_id: UUID) -> Campaign:
    async with platform.database.session() as session:
        campaign = await Campaign.find_any(session, campaign_id)
    assert campaign is not None
    return campaign


async def _accepted(platform: Platform, campaign_id: UUID) -> int:
    return len(
        await _execute(platform, "SELECT 1 FROM messages WHERE campaign_id = %s", (campaign_id,))
    )


SPOILT = {
    "mapping that is none": "mapping = '5'",
    "mapping of a column that is not there": """mapping = '{"gone": "to"}'""",
    "columns that are none": "columns = 'null'",
    "priority that is none": "priority = 'urgent'",
    "text that is no template": "message = '{{'",
    "connector that is gone": "connector_id = gen_random_uuid()",
    "metadata too deep to read": f"metadata = '{'[' * 1500}{']' * 1500}'",
    "end before the beginning of time": "expires_at = '0044-03-15 BC'",
    "end after the end of time": "expires_at = '294276-01-01'",
    "start that nobody can subtract": "send_at = '-infinity', started_at = 'infinity'",
}


@pytest.mark.parametrize("spoilt", SPOILT)
async def test_a_campaign_whose_row_holds_anything_keeps_no_other_from_being_fed(
    platform: Platform, feeder: CampaignFeeder, spoilt: str
) -> None:
    bad, good = await World.make(platform), await World.make(platform)
    first = await _campaign(bad)
    await _execute(
        platform,
        f"UPDATE campaigns SET {SPOILT[spoilt]}, next_feed_at = now() - interval '1 day' WHERE id"
        " = %s",
        (first,),
    )
    second = await _campaign(good)
    await _feed(feeder)
    assert await _accepted(platform, second) == 3
    (row,) = await _execute(platform, "SELECT state, reason FROM campaigns WHERE id = %s", (first,))
    assert row[0] in {"running", "completed"} or (row[0] == "paused" and row[1])


async def test_a_failing_campaign_is_paused_with_the_reason_and_its_owners_are_told_once(
    platform: Platform, feeder: CampaignFeeder, smtp: FakeSmtp
) -> None:
    world = await World.make(platform)
    campaign_id = await _campaign(world)
    await _execute(platform, "UPDATE campaigns SET mapping = '5' WHERE id = %s", (campaign_id,))
    await _feed(feeder)
    await feeder._parts.mail.idle()
    campaign = await _state(platform, campaign_id)
    assert campaign.state == "paused"
    assert "the server's log says more" in (campaign.reason or "")
    async with platform.database.session() as session:
        owners = await ProjectMember.owner_addresses(session, world.project_id)
    (reported,) = smtp.mails
    assert [*reported.recipients] == owners
    assert f"/campaigns?id={ids.encode(ids.CAMPAIGN, campaign_id)}" in str(reported).replace(
        "=\n", ""
    ).replace("=3D", "=")


async def test_a_row_that_fails_is_marked_and_the_others_are_sent(
    platform: Platform, feeder: CampaignFeeder
) -> None:
    world = await World.make(platform)
    campaign_id = await _campaign(world, 4)
    await _execute(
        platform,
        "UPDATE campaign_rows SET cells = '5' WHERE campaign_id = %s AND line = 3",
        (campaign_id,),
    )
    await _feed(feeder)
    rows = await _execute(
        platform,
        "SELECT line, state, error_code, error_reason FROM campaign_rows"
        " WHERE campaign_id = %s ORDER BY 1",
        (campaign_id,),
    )  # fmt: skip
    assert [row[1] for row in rows] == ["accepted", "failed", "accepted", "accepted"]
    assert rows[1][2] == "INTERNAL_ERROR"
    assert "TypeError" in rows[1][3]


async def test_an_outage_pauses_no_campaign(platform: Platform, feeder: CampaignFeeder) -> None:
    """It waits a moment and goes on by itself."""
    world = await World.make(platform)
    campaign_id = await _campaign(world)
    wait = await feeder._after_failure(
        campaign_id, psycopg.OperationalError("the connection was closed")
    )
    assert wait is not None
    assert (await _state(platform, campaign_id)).state == "running"


async def test_a_turn_is_short_although_its_texts_take_long_to_render(
    platform: Platform, feeder: CampaignFeeder
) -> None:
    """The rows of the first campaign take longer than a turn; the other is not fed after it
    only.
    """
    feeder = CampaignFeeder(platform.campaigns, ahead=5000, turn_s=0.02)
    slow, quick = await World.make(platform), await World.make(platform)
    first = await _campaign(slow, 500, message="{{name}} " * 400)
    await _execute(
        platform,
        "UPDATE campaigns SET next_feed_at = now() - interval '1 day' WHERE id = %s",
        (first,),
    )
    second = await _campaign(quick, 100)
    while await _accepted(platform, second) == 0:
        assert await feeder.feed()
    fed = await _accepted(platform, first)
    assert fed < 500, fed
    await _execute(platform, "UPDATE campaigns SET state = 'canceled'")


async def test_a_project_with_many_campaigns_delays_no_other_projects(
    platform: Platform, feeder: CampaignFeeder
) -> None:
    many, other = await World.make(platform), await World.make(platform)
    for _ in range(30):
        await _campaign(many)
    await _execute(
        platform,
        "UPDATE campaigns SET next_feed_at = now() - interval '1 day' WHERE state = 'running'",
    )
    waiting = await _campaign(other)
    for _ in range(2):
        assert await feeder.feed()
    assert await _accepted(platform, waiting) == 3
    await _execute(platform, "UPDATE campaigns SET state = 'canceled'")
