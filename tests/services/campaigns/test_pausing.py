"""A campaign that cannot go on is paused once, with the reason, whatever state it is in."""

from __future__ import annotations

import pytest

from backend.ids import new_id
from backend.models import Campaign
from backend.services.campaigns.pausing import pause_failing
from tests.world import World


async def _campaign(world: World, state: str) -> Campaign:
    campaign = Campaign(
        project_id=world.project_id, name="Sale", state=state, mode="live", priority="bulk"
    )
    async with world.platform.database.transaction() as session:
        session.add(campaign)
    return campaign


async def _stored(world: World, campaign: Campaign) -> tuple[str, str | None]:
    async with world.platform.database.session() as session:
        stored = await Campaign.find_any(session, campaign.id)
    assert stored is not None
    return stored.state, stored.reason


async def test_it_keeps_the_first_reason(world: World) -> None:
    campaign = await _campaign(world, "running")
    await pause_failing(world.platform.campaigns, campaign.id, "The template is gone.")
    await pause_failing(world.platform.campaigns, campaign.id, "The connector is gone.")
    assert await _stored(world, campaign) == ("paused", "The template is gone.")


@pytest.mark.parametrize("state", ["canceled", "completed"])
async def test_a_campaign_that_has_ended_meanwhile_stays_as_it_is(world: World, state: str) -> None:
    campaign = await _campaign(world, state)
    await pause_failing(world.platform.campaigns, campaign.id, "The template is gone.")
    assert await _stored(world, campaign) == (state, None)


async def test_a_campaign_that_was_removed_stops_nobody(world: World) -> None:
    missing = new_id()
    await pause_failing(world.platform.campaigns, missing, "The template is gone.")
    async with world.platform.database.session() as session:
        assert await Campaign.find_any(session, missing) is None
