"""The list of campaigns, and the progress of the open one, which is paused, resumed or canceled."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from backend import ids
from backend.errors import CampaignNotFound
from backend.services.access.access import Action
from backend.services.campaigns import campaigns, states
from backend.services.campaigns.progress import list_campaigns, page_of_rows, progress_of
from backend.services.lists.paging import PageRequest
from messagejs_app.events import Events, background, event, go_to, say
from messagejs_app.pages.campaigns.rows import (
    MOST_ERRORS,
    ListedCampaign,
    RowProblem,
    StatusCount,
    counts_of,
    listed,
)
from messagejs_app.session import Session, Work
from messagejs_app.wording import number

PATH: Final = "/campaigns"
_REFRESH_S: Final = 1.0


class CampaignsState(Session):
    rows: list[ListedCampaign] = []
    is_loaded: bool = False
    open_id: str = ""
    campaign: ListedCampaign = ListedCampaign()
    state: str = ""
    reason: str = ""
    counts: list[StatusCount] = []
    problems: list[RowProblem] = []
    is_canceling: bool = False

    @event
    async def load(self) -> Events:
        await self._enter()
        self._put(
            open_id=self.router.url.query_parameters.get("id", "")[:60],
            problems=[],
            is_canceling=False,
        )
        async with self._work(Action.VIEW_MESSAGES) as work:
            await self._look(work)
        self.is_loaded = True
        return CampaignsState.watch()

    @background
    async def watch(self) -> Events:
        while True:
            await asyncio.sleep(_REFRESH_S)
            async with self:
                if not self._is_watched(PATH):
                    return None
                if self.open_id and self.state not in {states.RUNNING, states.PAUSED}:
                    return None
                async with self._work(Action.VIEW_MESSAGES) as work:
                    await self._look(work)

    @event
    async def pause(self) -> Events:
        async with self._work(Action.SEND_MESSAGES) as work:
            await campaigns.pause_campaign(work.session, work.access, campaign_id=self._id())
            await self._look_at_open(work)
        return say("Paused. Messages that wait are held until you resume.")

    @event
    async def resume(self) -> Events:
        async with self._work(Action.SEND_MESSAGES) as work:
            await campaigns.resume_campaign(work.session, work.access, campaign_id=self._id())
            await self._look_at_open(work)
        return [say("Resumed."), CampaignsState.watch()]

    @event
    async def show_cancel(self, is_shown: bool) -> Events:
        self.is_canceling = is_shown
        return None

    @event
    async def cancel(self) -> Events:
        was_draft = self.state == states.DRAFT
        async with self._work(Action.SEND_MESSAGES) as work:
            await campaigns.cancel_campaign(work.session, work.access, campaign_id=self._id())
            await self._look_at_open(work)
        self.is_canceling = False
        done = say("Canceled. What was sent stays sent; nothing more goes out.")
        return [done, go_to(PATH)] if was_draft else done

    def _id(self) -> UUID:
        campaign_id = ids.decode(ids.CAMPAIGN, self.open_id)
        if campaign_id is None:
            raise CampaignNotFound
        return campaign_id

    async def _look(self, work: Work) -> None:
        if self.open_id:
            await self._look_at_open(work)
            return
        page = await list_campaigns(
            work.session, work.access, page=PageRequest(limit=50), mode=self._checked_mode
        )
        self._put(rows=[listed(progress) for progress in page.items])

    async def _look_at_open(self, work: Work) -> None:
        campaign = await campaigns.get_campaign(work.session, work.access, campaign_id=self._id())
        progress = await progress_of(work.session, campaign)
        failed = await page_of_rows(
            work.session,
            work.access,
            campaign_id=campaign.id,
            page=PageRequest(limit=MOST_ERRORS),
            state="failed",
        )
        self._put(
            campaign=listed(progress),
            state=campaign.state,
            reason=campaign.reason or "",
            counts=counts_of(progress),
            problems=[
                RowProblem(
                    number(row.line),
                    row.error_field or "",
                    row.error_code or "",
                    row.error_reason or "",
                )
                for row in failed.items
            ],
        )
