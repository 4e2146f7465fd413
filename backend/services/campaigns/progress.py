"""How far campaigns are: rows and messages by state, and the rows themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import CampaignNotFound
from backend.models import Campaign, CampaignRow, Message
from backend.models.partitions import first_id
from backend.models.session import Database
from backend.services.access.access import Access, Action
from backend.services.campaigns.csv_file import CsvRow
from backend.services.lists.paging import Page, PageRequest, fetch_page

PENDING: Final = "pending"
ACCEPTED: Final = "accepted"
FAILED: Final = "failed"
ROW_STATES: Final = (PENDING, ACCEPTED, FAILED)
_CLOCK_SLACK: Final = timedelta(minutes=1)
_STEP: Final = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """`messages`: those of accepted rows by status; empty where nobody asked for them."""

    campaign: Campaign
    pending: int
    accepted: int
    failed: int
    messages: dict[str, int] = field(default_factory=dict)


async def list_campaigns(
    session: AsyncSession, access: Access, *, page: PageRequest, state: str | None = None
) -> Page[Progress]:
    """Newest first."""
    access.require(Action.VIEW_MESSAGES)
    query = Campaign.of_project(access.project_id)
    if access.only_mode is not None:
        query = query.where(col(Campaign.mode) == access.only_mode)
    if state is not None:
        query = query.where(col(Campaign.state) == state)
    result: Page[Campaign] = await fetch_page(session, query, col(Campaign.id), page)
    items = await _with_rows(session, result.items)
    return Page(items=items, request=page, total=result.total, next_cursor=result.next_cursor)


async def progress_of(session: AsyncSession, campaign: Campaign) -> Progress:
    """With its messages by status, through their index."""
    (progress,) = await _with_rows(session, [campaign])
    connection = await session.connection()
    counts = (
        select(col(Message.status), func.count())
        .where(
            col(Message.campaign_id) == campaign.id,
            # Older partitions cannot have any.
            col(Message.id) >= first_id(campaign.created_at - _CLOCK_SLACK),
        )
        .group_by(col(Message.status))
    )
    progress.messages.update(
        (status, count) for status, count in (await connection.execute(counts)).all()
    )
    return progress


async def _with_rows(session: AsyncSession, campaigns: Sequence[Campaign]) -> list[Progress]:
    """Rows of campaigns that have ended are known; those of others are counted, all at once."""
    open_ids = [
        campaign.id
        for campaign in campaigns
        if campaign.accepted_rows is None or campaign.failed_rows is None
    ]
    counted: dict[tuple[UUID, str], int] = {}
    if open_ids:
        connection = await session.connection()
        query = (
            select(col(CampaignRow.campaign_id), col(CampaignRow.state), func.count())
            .where(col(CampaignRow.campaign_id).in_(open_ids))
            .group_by(col(CampaignRow.campaign_id), col(CampaignRow.state))
        )
        counted = {
            (campaign_id, state): count
            for campaign_id, state, count in (await connection.execute(query)).all()
        }
    result = []
    for campaign in campaigns:
        accepted = (
            campaign.accepted_rows
            if campaign.accepted_rows is not None
            else counted.get((campaign.id, ACCEPTED), 0)
        )
        failed = (
            campaign.failed_rows
            if campaign.failed_rows is not None
            else counted.get((campaign.id, FAILED), 0)
        )
        result.append(Progress(campaign, campaign.total_rows - accepted - failed, accepted, failed))
    return result


async def page_of_rows(
    session: AsyncSession,
    access: Access,
    *,
    campaign_id: UUID,
    page: PageRequest,
    state: str | None = None,
) -> Page[CampaignRow]:
    """In the file's order; a cursor holds the line of the last row seen."""
    access.require(Action.VIEW_MESSAGES)
    connection = await session.connection()
    conditions = [
        col(CampaignRow.campaign_id) == campaign_id,
        col(CampaignRow.project_id) == access.project_id,
    ]
    if state is not None:
        conditions.append(col(CampaignRow.state) == state)
    total = (
        await connection.execute(select(func.count()).select_from(CampaignRow).where(*conditions))
    ).scalar_one()
    if page.cursor is not None:
        # A cursor of another list has no line in it: nothing comes after it.
        conditions.append(col(CampaignRow.line) > min(page.cursor.int, 2**31 - 1))
    query = select(CampaignRow).where(*conditions).order_by(col(CampaignRow.line))
    rows = list((await session.exec(query.offset(page.offset).limit(page.limit + 1))).all())
    items = rows[: page.limit]
    return Page(
        items=items,
        request=page,
        total=total,
        next_cursor=UUID(int=items[-1].line) if len(rows) > page.limit else None,
    )


async def walk_rows(
    database: Database, access: Access, *, campaign_id: UUID, state: str
) -> AsyncIterator[Sequence[CampaignRow]]:
    """Yield all rows of a state, some at a time; each step is a short read of its own."""
    access.require(Action.VIEW_MESSAGES)
    line = 0
    while True:
        async with database.session() as session:
            query = (
                select(CampaignRow)
                .where(
                    col(CampaignRow.campaign_id) == campaign_id,
                    col(CampaignRow.project_id) == access.project_id,
                    col(CampaignRow.state) == state,
                    col(CampaignRow.line) > line,
                )
                .order_by(col(CampaignRow.line))
                .limit(_STEP)
            )
            rows = list((await session.exec(query)).all())
        if rows:
            yield rows
        if len(rows) < _STEP:
            return
        line = rows[-1].line


async def stored_rows(
    database: Database, access: Access, *, campaign_id: UUID
) -> AsyncIterator[Sequence[CsvRow]]:
    """Yield the rows of a draft as its file had them.

    Raises CampaignNotFound for another project's.
    """
    access.require(Action.VIEW_MESSAGES)
    async with database.session() as session:
        if await Campaign.find(session, access.project_id, campaign_id) is None:
            raise CampaignNotFound
    async for rows in walk_rows(database, access, campaign_id=campaign_id, state=PENDING):
        yield [CsvRow(row.line, row.cells or []) for row in rows]
