"""The progress of a campaign: rows by state, in the file's order, and messages by status."""

from __future__ import annotations

from typing import Any

from backend.ids import new_id
from backend.models import Campaign, CampaignRow
from backend.services.access.access import system_access
from backend.services.campaigns.progress import Progress, progress_of, walk_rows
from tests.services.stored_messages import row, save
from tests.world import World


async def _campaign(world: World, states: list[str], **fields: Any) -> Campaign:
    campaign = Campaign(
        project_id=world.project_id,
        name="Sale",
        state="running",
        mode="live",
        priority="bulk",
        total_rows=len(states),
        **fields,
    )
    async with world.platform.database.transaction() as session:
        session.add(campaign)
        await session.flush()
        for line, state in enumerate(states, start=2):
            session.add(
                CampaignRow(
                    campaign_id=campaign.id,
                    line=line,
                    project_id=world.project_id,
                    cells=[f"row {line}"],
                    state=state,
                )
            )
    return campaign


async def _progress(world: World, campaign: Campaign) -> Progress:
    async with world.platform.database.session() as session:
        return await progress_of(session, campaign)


async def test_rows_and_messages_are_counted_by_state(world: World) -> None:
    campaign = await _campaign(world, ["accepted", "accepted", "failed", "pending"])
    await save(
        world,
        row(world, at=campaign.created_at, campaign_id=campaign.id, status="delivered"),
        row(world, at=campaign.created_at, campaign_id=campaign.id, status="failed"),
        row(world, at=campaign.created_at, campaign_id=new_id(), status="failed"),
        row(world, at=campaign.created_at),
    )
    progress = await _progress(world, campaign)
    assert (progress.pending, progress.accepted, progress.failed) == (1, 2, 1)
    assert progress.messages == {"delivered": 1, "failed": 1}


async def test_the_rows_of_a_campaign_that_has_ended_are_not_counted_again(world: World) -> None:
    """Its counts stay even after retention has removed its rows."""
    campaign = await _campaign(world, [], accepted_rows=7, failed_rows=2)
    campaign.total_rows = 9
    progress = await _progress(world, campaign)
    assert (progress.pending, progress.accepted, progress.failed) == (0, 7, 2)


async def test_rows_of_a_state_are_walked_in_the_files_order(world: World) -> None:
    campaign = await _campaign(world, ["failed", "accepted", "failed"])
    steps = walk_rows(
        world.platform.database,
        system_access(world.project_id),
        campaign_id=campaign.id,
        state="failed",
    )
    assert [line.line async for rows in steps for line in rows] == [2, 4]
