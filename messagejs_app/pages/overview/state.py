"""What Overview shows. It looks again every few seconds while it is open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast
from urllib.parse import quote

import reflex as rx

from backend import ids
from backend.integers import whole_number
from backend.provider_types import SANDBOX
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.lists.paging import PageRequest
from backend.services.reporting.messages import MessageFilter, list_messages
from backend.services.reporting.overview import (
    Bucket,
    ConnectorNumbers,
    LatestFailure,
    Overview,
    Window,
    overview,
)
from backend.services.sending.accept import Caller, SendRequest, accept_message
from backend.services.templates import templates
from backend.services.templates.templates import NewTemplate
from messagejs_app import snippets
from messagejs_app.components.statuses import SERIES, dot, word
from messagejs_app.events import Events, Steps, background, event, say
from messagejs_app.pages.connectors.health import health_of
from messagejs_app.samples import sample_of
from messagejs_app.session import Desk, Session
from messagejs_app.snippets import Piece
from messagejs_app.wording import duration, instant, number, percent, plural, recipient

_REFRESH_S: Final = 2.0
_WINDOWS: Final = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
# What a first template is called, and where the first message goes.
_WELCOME: Final = "Welcome"
_TO: Final = "sandbox:delivered"


@dataclass
class Series:
    name: str
    css: str
    count: str
    link: str


@dataclass
class Bar:
    """One bucket: `heights` in percent of the chart, from the top down as they are drawn."""

    start: str
    end: str
    link: str
    is_right: bool
    heights: list[str]
    counts: list[str]


@dataclass
class Tick:
    at: str
    position: str
    label: str


@dataclass
class Figure:
    name: str
    value: str
    note: str
    spark: str
    color: str
    link: str


@dataclass
class ConnectorRow:
    id: str
    kind: str
    name: str
    accepted: str
    share: str
    delivered: str
    health: str
    dot: str


@dataclass
class Failure:
    id: str
    status: str
    dot: str
    address: str
    reason: str
    at: str


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
    connectors: list[ConnectorRow] = []
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
        """The first template, in one press; it can be changed like any other."""
        async with self._desk(Action.MANAGE_TEMPLATES) as desk:
            text = f"Hi {{{{name}}}}, welcome to {self.project_name}."
            new = NewTemplate(name=_WELCOME, connector_type=SANDBOX, content=text)
            await templates.create_template(
                desk.session, project_id=desk.project_id, new=new, actor=desk.principal
            )
        await self._refresh()
        return say("Template Welcome made. Send it next.")

    @event
    async def send_first(self) -> Steps:
        """Send the newest template to the Sandbox; the watch ticks the step once it is there."""
        platform, project_id = await self._authorize(Action.SEND_MESSAGES)
        request = SendRequest(
            to=_TO,
            connector_type=SANDBOX,
            template_id=ids.decode(ids.TEMPLATE, self.template_id),
            variables=self._sample,
        )
        self.is_working = True
        yield None
        try:
            await accept_message(platform, Caller(project_id, self._checked_mode), request)
        finally:
            self.is_working = False
        await self._refresh()
        yield say("Accepted. It is on its way to the Sandbox.")

    async def _refresh(self) -> None:
        window = cast("Window", self.window)
        async with self._desk(Action.VIEW_MESSAGES) as desk:
            minutes = whole_number(self.utc_offset.removeprefix("-")) or 0
            offset = -minutes if self.utc_offset.startswith("-") else minutes
            numbers = await overview(
                desk.session,
                project_id=desk.project_id,
                mode=self._checked_mode,
                window=window,
                utc_offset_minutes=max(-900, min(900, offset)),
            )
            await self._refresh_steps(desk, numbers)
        ends = [bucket.start for bucket in numbers.buckets[1:]]
        width = timedelta(hours=1) if window == "24h" else timedelta(days=1)
        ends.append(numbers.buckets[-1].start + width)
        top = _round_up(max((bucket.total for bucket in numbers.buckets), default=0))
        self._put(
            window_name=_WINDOWS[self.window],
            start=instant(numbers.start),
            end=instant(ends[-1]),
            has_messages=numbers.accepted > 0,
            figures=_figures(numbers),
            series=[_series(name, css, own, numbers.by_status) for name, css, own in SERIES],
            bars=[
                _bar(bucket, instant(end), top, is_right=index > len(ends) // 2)
                for index, (bucket, end) in enumerate(zip(numbers.buckets, ends, strict=True))
            ],
            lines=[
                Tick("", f"{part * 100 / 3:.2f}%", number(top * part // 3)) for part in range(4)
            ],
            days=_days(numbers),
            connectors=[_connector(one, numbers.accepted) for one in numbers.connectors],
            failures=[_failure(one) for one in numbers.failures],
            all_failures=number(numbers.failed) if numbers.failed else "",
        )

    async def _refresh_steps(self, desk: Desk, numbers: Overview) -> None:
        if self.is_set_up:
            return
        own = await templates.list_templates(desk.session, project_id=desk.project_id)
        sent = numbers.accepted > 0
        if not sent:
            one = PageRequest(limit=1)
            page = await list_messages(
                desk.session, project_id=desk.project_id, filters=MessageFilter(), page=one
            )
            sent = bool(page.items)
        has_connector = bool(
            await connectors.list_connectors(desk.session, project_id=desk.project_id)
        )
        self._put(
            has_template=bool(own),
            has_sent=sent,
            steps_done=sum((has_connector, bool(own), sent)),
            is_set_up=has_connector and bool(own) and sent,
        )
        if own:
            newest = own[0]
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


def _round_up(value: int) -> int:
    """The chart's top: three times a round number, so that its three lines fall on round numbers."""
    scale = 1
    while True:
        for unit in (1, 2, 3, 4, 5, 6, 8):
            if 3 * unit * scale >= max(value, 1):
                return 3 * unit * scale
        scale *= 10


def _series(name: str, css: str, own: tuple[str, ...], by_status: dict[str, int]) -> Series:
    return Series(
        name,
        css,
        number(sum(by_status.get(status, 0) for status in own)),
        f"/messages?status={own[0]}",
    )


def _bar(bucket: Bucket, end: str, top: int, *, is_right: bool) -> Bar:
    counts = [sum(bucket.counts.get(status, 0) for status in own) for _, _, own in SERIES]
    since = instant(bucket.start)
    return Bar(
        start=since,
        end=end,
        link=f"/messages?from={quote(since)}&to={quote(end)}",
        is_right=is_right,
        heights=[f"{100 * count / top:.2f}%" for count in reversed(counts)],
        counts=[number(count) for count in counts],
    )


def _days(numbers: Overview) -> list[Tick]:
    """A label under every third hour, every day of a week, every fifth day of a month."""
    every = {"24h": 3, "7d": 1, "30d": 5}[numbers.window]
    count = len(numbers.buckets)
    return [
        Tick(
            instant(bucket.start),
            f"{100 * (index + 0.5) / count:.2f}%",
            "short" if every == 3 else "day",
        )
        for index, bucket in enumerate(numbers.buckets)
        if index % every == 0
    ]


def _figures(numbers: Overview) -> list[Figure]:
    totals = [bucket.total for bucket in numbers.buckets]
    failed = [
        sum(bucket.counts.get(status, 0) for status in SERIES[3][2]) for bucket in numbers.buckets
    ]
    delivered = [
        sum(bucket.counts.get(status, 0) for status in SERIES[0][2]) for bucket in numbers.buckets
    ]
    has_any = numbers.accepted > 0
    share = f"{number(numbers.delivered)} of {number(numbers.handed_over)} handed over"
    lost = f"{percent(numbers.failed, numbers.accepted)} of accepted"
    return [
        Figure(
            "Accepted",
            number(numbers.accepted),
            "Messages taken by the API",
            _spark(totals),
            "iris",
            "/messages",
        ),
        Figure(
            "Delivered",
            percent(numbers.delivered, numbers.handed_over),
            share if numbers.handed_over else "Share of messages handed over",
            _spark(delivered),
            "iris",
            "/messages?status=delivered",
        ),
        Figure(
            "Failed",
            number(numbers.failed),
            lost if has_any else "Failed, undelivered or expired",
            _spark(failed),
            "red",
            "/messages?status=failed",
        ),
        Figure(
            "p95 to provider",
            duration(numbers.p95_ms),
            "Accept to provider answer",
            "",
            "iris",
            "/messages",
        ),
    ]


def _spark(values: list[int]) -> str:
    """An SVG path 72 by 28; none when there is nothing to draw."""
    top = max(values, default=0)
    if top == 0 or len(values) < 2:
        return ""
    step = 72 / (len(values) - 1)
    points = (
        f"{index * step:.1f} {25 - 22 * value / top:.1f}" for index, value in enumerate(values)
    )
    return "M" + " L".join(points)


def _connector(one: ConnectorNumbers, accepted: int) -> ConnectorRow:
    health, css = health_of(one)
    return ConnectorRow(
        id=ids.encode(ids.CONNECTOR, one.id),
        kind=one.type,
        name=one.name,
        accepted=number(one.accepted),
        share=f"{100 * one.accepted / accepted:.0f}%" if accepted else "0%",
        delivered=percent(one.delivered, one.handed_over),
        health=health,
        dot=css,
    )


def _failure(one: LatestFailure) -> Failure:
    code = f" ({one.code})" if one.code else ""
    return Failure(
        id=ids.encode(ids.MESSAGE, one.message_id),
        status=word(one.status),
        dot=dot(one.status),
        address=recipient(one.recipient),
        reason=f"{one.reason.rstrip('.')}{code}",
        at=instant(one.at),
    )
