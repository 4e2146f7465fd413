"""What Overview shows, refreshed every few seconds while it is open."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final, cast

import reflex as rx

from backend import ids
from backend.integers import whole_number
from backend.provider_types import SANDBOX
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.lists.paging import PageRequest
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.reporting.messages import MessageFilter, list_messages
from backend.services.reporting.overview import Overview, Window, overview
from backend.services.sending.accept import accept_message
from backend.services.templates import templates
from backend.services.templates.templates import NewTemplate
from messagejs_app import snippets
from messagejs_app.events import Events, Steps, background, event, say
from messagejs_app.pages.overview.figures import (
    Bar,
    ConnectorFigures,
    Failure,
    Figure,
    Series,
    Tick,
    bars_of,
    connectors_of,
    days_of,
    failure_of,
    figures_of,
    lines_of,
    round_up,
    series_of,
)
from messagejs_app.samples import sample_of
from messagejs_app.session import Session, Work
from messagejs_app.snippets import Piece
from messagejs_app.wording import instant, number, plural

_REFRESH_S: Final = 2.0
_WINDOWS: Final = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
# The name of the first template, and where the first message goes.
_WELCOME: Final = "Welcome"
_TO: Final = "sandbox:delivered"


class OverviewState(Session):
    window: str = "24h"
    window_name: str = "24 hours"
    start: str = ""
    end: str = ""
    has_messages: bool = False
    figures: list[Figure] = []
    series: list[Series] = []
    bars: list[Bar] = []
    lines: list[Tick] = []
    days: list[Tick] = []
    connectors: list[ConnectorFigures] = []
    failures: list[Failure] = []
    all_failures: str = ""
    is_set_up: bool = False
    has_template: bool = False
    has_sent: bool = False
    steps_done: int = 0
    template_name: str = ""
    template_id: str = ""
    template_note: str = ""
    is_working: bool = False
    language: str = "javascript"
    code: str = ""
    code_parts: list[Piece] = []
    hidden_for: str = rx.LocalStorage("", name="mjs_setup_hidden")
    _sample: dict[str, str] = {}

    @event
    async def load(self) -> Events:
        await self._enter()
        await self._refresh()
        return OverviewState.watch()

    @background
    async def watch(self) -> Events:
        while True:
            await asyncio.sleep(_REFRESH_S)
            async with self:
                if not self._is_watched("/"):
                    return None
                await self._refresh()

    @event
    async def choose_window(self, window: str) -> Events:
        self.window = window if window in _WINDOWS else "24h"
        await self._refresh()
        return None

    @event
    async def choose_language(self, language: str) -> Events:
        self.language = snippets.language_of(language)
        self._write_code()
        return None

    @event
    async def hide_setup(self) -> Events:
        self.hidden_for = self.project_id
        return None

    @event
    async def make_template(self) -> Events:
        """Create the first template in one click; it can be changed like any other."""
        async with self._work(Action.MANAGE_TEMPLATES) as work:
            text = f"Hi {{{{name}}}}, welcome to {self.project_name}."
            new = NewTemplate(name=_WELCOME, connector_type=SANDBOX, content=text)
            await templates.create_template(work.session, work.access, new=new)
        await self._refresh()
        return say("Template Welcome created. Now send it.")

    @event
    async def send_first(self) -> Steps:
        """Send the newest template to the Sandbox; the watch ticks the step once the message is
        there.
        """
        platform, access = await self._authorize(Action.SEND_MESSAGES)
        request = SendRequest(
            to=_TO,
            connector_type=SANDBOX,
            template_id=ids.decode(ids.TEMPLATE, self.template_id),
            variables=self._sample,
        )
        self.is_working = True
        yield None
        try:
            await accept_message(platform.send_path, Sender(access, self._checked_mode), request)
        finally:
            self.is_working = False
        await self._refresh()
        yield say("Accepted. It is on its way to the Sandbox.")

    async def _refresh(self) -> None:
        window = cast("Window", self.window)
        async with self._work(Action.VIEW_MESSAGES) as work:
            minutes = whole_number(self.utc_offset.removeprefix("-")) or 0
            offset = -minutes if self.utc_offset.startswith("-") else minutes
            numbers = await overview(
                work.session,
                work.access,
                mode=self._checked_mode,
                window=window,
                utc_offset_minutes=max(-900, min(900, offset)),
            )
            await self._refresh_steps(work, numbers)
        width = timedelta(hours=1) if window == "24h" else timedelta(days=1)
        end = numbers.buckets[-1].start + width
        top = round_up(max((bucket.total for bucket in numbers.buckets), default=0))
        self._put(
            window_name=_WINDOWS[self.window],
            start=instant(numbers.start),
            end=instant(end),
            has_messages=numbers.accepted > 0,
            figures=figures_of(numbers),
            series=series_of(numbers.by_status),
            bars=bars_of(numbers.buckets, end, top),
            lines=lines_of(top),
            days=days_of(numbers),
            connectors=connectors_of(numbers),
            failures=[failure_of(failure) for failure in numbers.failures],
            all_failures=number(numbers.failed) if numbers.failed else "",
        )

    async def _refresh_steps(self, work: Work, numbers: Overview) -> None:
        if self.is_set_up:
            return
        all_templates = await templates.list_templates(work.session, work.access)
        has_template = bool(all_templates)
        has_connector = bool(await connectors.list_connectors(work.session, work.access))
        has_sent = numbers.accepted > 0
        if not has_sent:
            page = await list_messages(
                work.session, work.access, filters=MessageFilter(), page=PageRequest(limit=1)
            )
            has_sent = bool(page.items)
        self._put(
            has_template=has_template,
            has_sent=has_sent,
            steps_done=sum((has_connector, has_template, has_sent)),
            is_set_up=has_connector and has_template and has_sent,
        )
        if has_template:
            newest = all_templates[0]
            variables = plural(len(newest.variables), "variable")
            self._put(
                template_name=newest.name,
                template_id=ids.encode(ids.TEMPLATE, newest.id),
                template_note=f"{newest.name}, {variables}, for {newest.connector_type}.",
            )
            self._sample = {name: sample_of(name) for name in newest.variables}
        self._write_code()

    def _write_code(self) -> None:
        body: dict[str, object] = {"templateId": self.template_id or "tpl_...", "to": _TO}
        if self._sample or not self.template_id:
            body["variables"] = dict(self._sample) or {"name": sample_of("name")}
        code = snippets.send_call(
            self.language, base_url=self._base_url, key="sk_test_YOUR_KEY", body=body
        )
        language = cast("snippets.Language", self.language)
        self._put(code=code, code_parts=snippets.pieces(code, language))
