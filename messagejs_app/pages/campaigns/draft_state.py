"""A draft: what it sends and which column holds what, checked against every row, then started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from backend import ids
from backend.errors import AppError, CampaignNotFound
from backend.services.access.access import Action
from backend.services.campaigns import campaigns, states
from backend.services.campaigns.check import DryRun, dry_run
from backend.services.campaigns.plan import TO, CampaignPlan, guess_mapping
from backend.services.campaigns.progress import stored_rows
from backend.services.connectors import connectors
from backend.services.policy.sender import Sender
from backend.services.templates import templates
from messagejs_app.components.controls import Choice
from messagejs_app.events import Events, Steps, event, say
from messagejs_app.pages.campaigns.rows import (
    MOST_ERRORS,
    RowProblem,
    Sample,
    problem_of,
    sample_of,
)
from messagejs_app.pages.campaigns.state import CampaignsState
from messagejs_app.session import Session, field_errors
from messagejs_app.wording import number, plural

_FIELDS: Final = frozenset({"message", "templateId", "connectorId"})


@dataclass
class Need:
    """What every row has to say, and which column says it."""

    name: str
    title: str
    column: str


class DraftState(Session):
    campaign_id: str = ""
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
    problems: list[RowProblem] = []
    samples: list[Sample] = []
    _name: str = ""

    @event
    async def load(self) -> Events:
        """Show the open campaign's form, if it is a draft.

        CampaignsState.load comes first, and says what keeps the page from opening.
        """
        self._forget()
        campaign_id = ids.decode(ids.CAMPAIGN, self.router.url.query_parameters.get("id", ""))
        if campaign_id is None:
            return None
        async with self._work(Action.VIEW_MESSAGES) as work:
            try:
                campaign = await campaigns.get_campaign(
                    work.session, work.access, campaign_id=campaign_id
                )
            except CampaignNotFound:
                return None
        if campaign.state == states.DRAFT:
            self._put(columns=list(campaign.columns), _name=campaign.name)
            await self._load_choices()
            await self._arrange()
            self.campaign_id = ids.encode(ids.CAMPAIGN, campaign.id)
        return None

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
            result = await dry_run(
                platform.send_path,
                Sender(access, self._checked_mode),
                self._plan(),
                stored_rows(platform.database, access, campaign_id=self._id()),
                sends_duplicates=False,
            )
            self._show(result)
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
                await campaigns.plan_draft(
                    work.platform.send_path,
                    work.session,
                    Sender(work.access, self._checked_mode),
                    campaign_id=self._id(),
                    name=self._name,
                    plan=self._plan(),
                )
                await campaigns.resume_campaign(work.session, work.access, campaign_id=self._id())
        except AppError as exc:
            self.errors = _form_errors(exc)
            return
        finally:
            self.is_busy = False
        yield [say(f"{self._name} started."), CampaignsState.load()]

    def _id(self) -> UUID:
        campaign_id = ids.decode(ids.CAMPAIGN, self.campaign_id)
        if campaign_id is None:
            raise CampaignNotFound
        return campaign_id

    def _plan(self) -> CampaignPlan:
        is_template = self.what == "template"
        return CampaignPlan(
            columns=list(self.columns),
            mapping={need.column: need.name for need in self.needs if need.column},
            connector_id=ids.decode(ids.CONNECTOR, self.connector_id),
            template_id=ids.decode(ids.TEMPLATE, self.template_id) if is_template else None,
            message=None if is_template else self.message,
        )

    async def _load_choices(self) -> None:
        """Offer what a draft may send, and choose the first of each."""
        async with self._work(Action.VIEW_TEMPLATES) as work:
            all_templates = await templates.list_templates(work.session, work.access)
            all_connectors = await connectors.list_connectors(work.session, work.access)
        self.templates = [
            Choice(ids.encode(ids.TEMPLATE, template.id), f"{template.name} v{template.version}")
            for template in all_templates
            if template.is_active
        ]
        self.connectors = [
            Choice(ids.encode(ids.CONNECTOR, connector.id), connector.name)
            for connector in all_connectors
            if connector.is_active
        ]
        self._put(
            what="template" if self.templates else "text",
            template_id=self.templates[0].value if self.templates else "",
            connector_id=self.connectors[0].value if self.connectors else "",
        )

    async def _arrange(self) -> None:
        """Ask for what the text needs; columns that were chosen stay chosen."""
        platform, access = await self._authorize(Action.VIEW_TEMPLATES)
        self.errors = {}
        try:
            variables = await self._plan().variables(
                platform.send_path, Sender(access, self._checked_mode)
            )
        except AppError as exc:
            self.errors = _form_errors(exc)
            return
        columns = {name: column for column, name in guess_mapping(self.columns, variables).items()}
        columns |= {need.name: need.column for need in self.needs if need.column}
        self.needs = [
            Need(name, "Recipient" if name == TO else name, columns.get(name, ""))
            for name in (TO, *variables)
        ]

    def _show(self, result: DryRun) -> None:
        bad = f"{plural(result.invalid, 'row')} cannot be sent. " if result.invalid else ""
        self._put(
            is_checked=True,
            is_good=not result.invalid,
            verdict=f"{bad}{number(result.valid)} of {plural(result.total, 'row')} would be sent.",
            problems=[problem_of(error) for error in result.errors[:MOST_ERRORS]],
            samples=[sample_of(preview) for preview in result.previews],
        )


def _form_errors(exc: AppError) -> dict[str, str]:
    """Where the form has no such field, the error is said above it."""
    sentences: dict[str, str] = {}
    for name, text in field_errors(exc).items():
        sentences.setdefault(name if name in _FIELDS else "", text)
    return sentences
