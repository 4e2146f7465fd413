"""The list, and the open campaign: a draft is given what it sends and checked, another one is
watched and steered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from backend import ids
from backend.errors import AppError, CampaignNotFound
from backend.services.access.access import Action
from backend.services.campaigns import campaigns, states
from backend.services.campaigns.check import DryRun, dry_run
from backend.services.campaigns.plan import TO, Plan, guess_mapping
from backend.services.campaigns.progress import (
    Progress,
    list_campaigns,
    page_of_rows,
    progress_of,
    stored_rows,
)
from backend.services.connectors import connectors
from backend.services.lists.paging import PageRequest
from backend.services.policy.sender import Sender
from backend.services.templates import templates
from messagejs_app.components.statuses import dot, word
from messagejs_app.events import Events, Steps, background, event, go_to, say
from messagejs_app.session import Session, Work, field_errors
from messagejs_app.wording import instant, number, plural

PATH: Final = "/campaigns"
_REFRESH_S: Final = 1.0
_SHOWN_ERRORS: Final = 20
_DOTS: Final = {
    states.DRAFT: "queued ring",
    states.RUNNING: "sending halo",
    states.PAUSED: "throttled half",
    states.COMPLETED: "delivered",
    states.CANCELED: "canceled dash",
}


@dataclass
class Line:
    """A campaign in the list."""

    id: str
    name: str
    state: str
    dot: str
    rows: str
    done: str
    failed: str
    percent: str
    at: str


@dataclass
class Choice:
    value: str
    name: str


@dataclass
class Need:
    """What every row has to say, and which column says it."""

    name: str
    title: str
    column: str


@dataclass
class Count:
    status: str
    dot: str
    messages: str


@dataclass
class Wrong:
    row: str
    field: str
    code: str
    message: str


@dataclass
class Sample:
    recipient: str
    text: str


class CampaignsState(Session):
    rows: list[Line] = []
    is_loaded: bool = False
    open_id: str = ""
    campaign: Line = Line("", "", "", "", "", "", "", "", "")
    state: str = ""
    reason: str = ""
    columns: list[str] = []
    templates: list[Choice] = []
    connectors: list[Choice] = []
    what: str = "template"
    template_id: str = ""
    connector_id: str = ""
    message: str = ""
    needs: list[Need] = []
    errors: dict[str, str] = {}
    is_busy: bool = False
    is_checked: bool = False
    verdict: str = ""
    is_good: bool = False
    wrong: list[Wrong] = []
    samples: list[Sample] = []
    counts: list[Count] = []
    is_canceling: bool = False

    @event
    async def load(self) -> Events:
        await self._enter()
        expected = self.router.url.query_parameters.get("id", "")[:60]
        self._put(
            open_id=expected,
            errors={},
            is_checked=False,
            wrong=[],
            samples=[],
            is_canceling=False,
            is_busy=False,
        )
        async with self._work(Action.VIEW_MESSAGES) as work:
            if expected:
                await self._look_at_one(work)
            else:
                await self._look(work)
        if self.state == states.DRAFT and expected:
            await self._prepare()
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
                    await (self._look_at_one(work) if self.open_id else self._look(work))

    @event
    async def choose_what(self, what: str) -> Events:
        self._put(what="text" if what == "text" else "template", is_checked=False)
        await self._arrange()
        return None

    @event
    async def choose_template(self, template_id: str) -> Events:
        self._put(template_id=template_id, is_checked=False)
        await self._arrange()
        return None

    @event
    async def choose_connector(self, connector_id: str) -> Events:
        self._put(connector_id=connector_id, is_checked=False)
        return None

    @event
    async def write(self, text: str) -> Events:
        self._put(message=text, is_checked=False)
        await self._arrange()
        return None

    @event
    async def choose_column(self, name: str, column: str) -> Events:
        self.needs = [
            Need(need.name, need.title, column if need.name == name else need.column)
            for need in self.needs
        ]
        self.is_checked = False
        return None

    @event
    async def check(self) -> Steps:
        """The dry run."""
        self._put(errors={}, is_busy=True, is_checked=False)
        yield None
        try:
            platform, access = await self._authorize(Action.SEND_MESSAGES)
            plan = self._plan()
            caller = Sender(access, self._checked_mode)
            rows = stored_rows(platform.database, access, campaign_id=self._id())
            self._show(
                await dry_run(platform.send_path, caller, plan, rows, sends_duplicates=False)
            )
        except AppError as exc:
            self.errors = _form_errors(exc)
        finally:
            self.is_busy = False

    @event
    async def start(self) -> Steps:
        self._put(errors={}, is_busy=True)
        yield None
        try:
            async with self._work(Action.SEND_MESSAGES) as work:
                caller = Sender(work.access, self._checked_mode)
                await campaigns.plan_draft(
                    work.platform.send_path,
                    work.session,
                    caller,
                    campaign_id=self._id(),
                    name=self.campaign.name,
                    plan=self._plan(),
                )
                await campaigns.resume_campaign(work.session, work.access, campaign_id=self._id())
                await self._look_at_one(work)
        except AppError as exc:
            self.errors = _form_errors(exc)
            return
        finally:
            self.is_busy = False
        yield [say(f"{self.campaign.name} started."), CampaignsState.watch()]

    @event
    async def pause(self) -> Events:
        async with self._work(Action.SEND_MESSAGES) as work:
            await campaigns.pause_campaign(work.session, work.access, campaign_id=self._id())
            await self._look_at_one(work)
        return say("Paused. What waits is held until you resume.")

    @event
    async def resume(self) -> Events:
        async with self._work(Action.SEND_MESSAGES) as work:
            await campaigns.resume_campaign(work.session, work.access, campaign_id=self._id())
            await self._look_at_one(work)
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
            await self._look_at_one(work)
        self.is_canceling = False
        done = say("Canceled. What was sent stays sent; nothing more goes out.")
        return [done, go_to(PATH)] if was_draft else done

    def _id(self) -> UUID:
        campaign_id = ids.decode(ids.CAMPAIGN, self.open_id)
        if campaign_id is None:
            raise CampaignNotFound
        return campaign_id

    def _plan(self) -> Plan:
        is_template = self.what == "template"
        return Plan(
            columns=list(self.columns),
            mapping={need.column: need.name for need in self.needs if need.column},
            connector_id=ids.decode(ids.CONNECTOR, self.connector_id),
            template_id=ids.decode(ids.TEMPLATE, self.template_id) if is_template else None,
            message=None if is_template else self.message,
        )

    async def _look(self, work: Work) -> None:
        result = await list_campaigns(work.session, work.access, page=PageRequest(limit=50))
        self._put(rows=[_line(item) for item in result.items])

    async def _look_at_one(self, work: Work) -> None:
        campaign = await campaigns.get_campaign(work.session, work.access, campaign_id=self._id())
        progress = await progress_of(work.session, campaign)
        failed = await page_of_rows(
            work.session,
            work.access,
            campaign_id=campaign.id,
            page=PageRequest(limit=_SHOWN_ERRORS),
            state="failed",
        )
        self._put(
            campaign=_line(progress),
            state=campaign.state,
            reason=campaign.reason or "",
            columns=campaign.columns,
            counts=_counts(progress),
        )
        if campaign.state != states.DRAFT:
            self._put(
                wrong=[
                    Wrong(
                        number(item.line),
                        item.error_field or "",
                        item.error_code or "",
                        item.error_reason or "",
                    )
                    for item in failed.items
                ]
            )

    async def _prepare(self) -> None:
        """What a draft may send, and the first guess."""
        async with self._work(Action.VIEW_TEMPLATES) as work:
            created = await templates.list_templates(work.session, work.access)
            ours = await connectors.list_connectors(work.session, work.access)
        usable = [item for item in created if item.is_active]
        self._put(
            templates=[
                Choice(ids.encode(ids.TEMPLATE, item.id), f"{item.name} v{item.version}")
                for item in usable
            ],
            connectors=[
                Choice(ids.encode(ids.CONNECTOR, item.id), item.name)
                for item in ours
                if item.is_active
            ],
            what="template" if usable else "text",
            needs=[],
        )
        self.template_id = self.templates[0].value if self.templates else ""
        self.connector_id = self.connectors[0].value if self.connectors else ""
        await self._arrange()

    async def _arrange(self) -> None:
        """Ask for what the text needs; what was chosen stays chosen."""
        platform, access = await self._authorize(Action.VIEW_TEMPLATES)
        self.errors = {}
        try:
            variables = await self._plan().variables(
                platform.send_path, Sender(access, self._checked_mode)
            )
        except AppError as exc:
            self.errors = _form_errors(exc)
            return
        guessed = {name: column for column, name in guess_mapping(self.columns, variables).items()}
        chosen = {need.name: need.column for need in self.needs if need.column}
        self.needs = [
            Need(
                name, "Recipient" if name == TO else name, chosen.get(name) or guessed.get(name, "")
            )
            for name in (TO, *variables)
        ]

    def _show(self, result: DryRun) -> None:
        bad = f"{plural(result.invalid, 'row')} cannot be sent. " if result.invalid else ""
        self._put(
            is_checked=True,
            is_good=not result.invalid,
            verdict=f"{bad}{number(result.valid)} of {plural(result.total, 'row')} would be sent.",
            wrong=[
                Wrong(number(error.row), error.field, error.code, error.message)
                for error in result.errors[:_SHOWN_ERRORS]
            ],
            samples=[
                Sample(preview.to, str(preview.content.get("text", "")))
                for preview in result.previews
            ],
        )


def _line(progress: Progress) -> Line:
    item = progress.campaign
    done = progress.accepted + progress.failed
    return Line(
        id=ids.encode(ids.CAMPAIGN, item.id),
        name=item.name,
        state=item.state.capitalize(),
        dot=_DOTS[item.state],
        rows=number(item.total_rows),
        done=number(progress.accepted),
        failed=number(progress.failed),
        percent=f"{100 * done // max(1, item.total_rows)}%",
        at=instant(item.created_at),
    )


def _counts(progress: Progress) -> list[Count]:
    shown = [
        Count("Not accepted yet", "queued ring", number(progress.pending)),
        *(
            Count(word(status), dot(status), number(count))
            for status, count in sorted(progress.messages.items())
        ),
        Count("Rows with errors", "failed", number(progress.failed)),
    ]
    return [item for item in shown if item.messages != "0"]


def _form_errors(exc: AppError) -> dict[str, str]:
    """What the form has no place for is said above it."""
    reported: dict[str, Any] = {}
    for name, text in field_errors(exc).items():
        reported.setdefault(name if name in {"message", "templateId", "connectorId"} else "", text)
    return reported
