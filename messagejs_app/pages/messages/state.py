"""The list and the open message. It looks for what is new every second while the page is open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from backend import ids
from backend.errors import MessageNotFound
from backend.instants import is_in_range
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.keys import keys
from backend.services.lists.paging import PageRequest
from backend.services.reporting.messages import MessageFilter, list_messages, message_detail
from backend.services.templates import templates
from backend.status import Status
from messagejs_app.events import Events, background, event, go_to
from messagejs_app.pages.messages.rows import Names, Row, Shown, row_of, shown_of
from messagejs_app.session import Session, Work
from messagejs_app.wording import number, plural

PATH: Final = "/messages"
_REFRESH_S: Final = 1.0
_PAGE_SIZE: Final = 50
_FILTERS: Final = ("q", "status", "connector", "template", "key", "campaign", "time", "from", "to")
TIMES: Final = {"1h": "last hour", "24h": "last 24 h", "7d": "last 7 d", "30d": "last 30 d"}
_SPANS: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
STATUSES: Final = ("pending", *(status.value for status in Status))


@dataclass
class Choice:
    value: str
    name: str


class MessagesState(Session):
    rows: list[Row] = []
    filters: dict[str, str] = {}
    shown_filters: dict[str, str] = {}
    connector_choices: list[Choice] = []
    template_choices: list[Choice] = []
    key_choices: list[Choice] = []
    total: str = ""
    extent: str = ""
    older: str = ""
    is_live: bool = True
    is_first_page: bool = True
    is_loaded: bool = False
    open_id: str = ""
    query_of_list: str = ""
    message: Shown = Shown()
    previous_id: str = ""
    next_id: str = ""
    _names: dict[str, dict[str, str]] = {}

    @event
    async def load(self) -> Events:
        await self._enter()
        query = self.router.url.query_parameters
        self.filters = {name: query[name][:200] for name in _FILTERS if query.get(name)}
        self.open_id = query.get("id", "")[:60]
        address = self._url(id="").removeprefix(PATH).lstrip("?")
        self.query_of_list = f"{address}&" if address else ""
        async with self._work(Action.VIEW_MESSAGES) as work:
            await self._load_names(work)
            await self._look(work, is_first=True)
        self.is_loaded = True
        return MessagesState.watch()

    @background
    async def watch(self) -> Events:
        while True:
            await asyncio.sleep(_REFRESH_S)
            async with self:
                if not self._is_watched(PATH):
                    return None
                if self.is_live and self.is_first_page:
                    async with self._work(Action.VIEW_MESSAGES) as work:
                        await self._look(work)

    @event
    async def toggle_live(self) -> Events:
        self.is_live = not self.is_live
        return None

    @event
    async def search(self, data: dict[str, str]) -> Events:
        """A whole message id opens that message; everything else filters by recipient."""
        expected = (data.get("q") or "").strip()
        if ids.decode(ids.MESSAGE, expected) is not None:
            return go_to(self._url(id=expected))
        return go_to(self._url(q=expected, id=""))

    @event
    async def choose(self, name: str, value: str) -> Events:
        return go_to(self._url(**{name: value, "before": ""}))

    @event
    async def clear_time(self) -> Events:
        return go_to(self._url(time="", to="", **{"from": ""}))

    @event
    async def clear(self) -> Events:
        return go_to(PATH)

    @event
    async def close(self) -> Events:
        return go_to(self._url(id=""))

    def _url(self, **changes: str) -> str:
        query = self.router.url.query_parameters
        kept = {name: value for name, value in query.items() if name in {*_FILTERS, "id", "before"}}
        merged = {name: value for name, value in {**kept, **changes}.items() if value}
        return f"{PATH}?{urlencode(merged)}" if merged else PATH

    async def _look(self, work: Work, *, is_first: bool = False) -> None:
        before = ids.decode(ids.MESSAGE, self.router.url.query_parameters.get("before", ""))
        filters = self._filter()
        if filters is None:
            self._put(rows=[], total="0 messages", extent="", older="")
            return
        page = await list_messages(
            work.session,
            work.access,
            filters=filters,
            page=PageRequest(limit=_PAGE_SIZE, cursor=before),
        )
        names = Names(**self._names)
        rows = [row_of(item, names) for item in page.items]
        known = {row.id for row in self.rows}
        if not is_first:
            for row in rows:
                row.is_new = row.id not in known
        if [replace(row, is_new=False) for row in rows] != [
            replace(row, is_new=False) for row in self.rows
        ]:
            self.rows = rows
        about = "about " if page.is_total_estimate else ""
        self._put(
            is_first_page=before is None,
            total=f"{about}{plural(page.total, 'message')}",
            extent=f"{'1–' if before is None else ''}{len(rows)} of {about}{number(page.total)}",
            older=(
                self._url(before=ids.encode(ids.MESSAGE, page.next_cursor), id="")
                if page.next_cursor
                else ""
            ),
        )
        await self._look_at_open(work)

    async def _look_at_open(self, work: Work) -> None:
        message_id = ids.decode(ids.MESSAGE, self.open_id)
        if message_id is None:
            self._put(message=Shown())
            return
        try:
            detail = await message_detail(work.session, work.access, message_id=message_id)
        except MessageNotFound:
            self.open_id = ""
            return
        order = [row.id for row in self.rows]
        place = order.index(self.open_id) if self.open_id in order else -1
        self._put(
            message=shown_of(detail, base_url=self._base_url),
            previous_id=order[place - 1] if place > 0 else "",
            next_id=order[place + 1] if 0 <= place < len(order) - 1 else "",
        )

    def _filter(self) -> MessageFilter | None:
        """The address as conditions; None when it asks for what cannot exist."""
        given = self.filters
        status = given.get("status")
        if status is not None and status not in STATUSES:
            return None
        prefixes = {"template": ids.TEMPLATE, "key": ids.KEY, "campaign": ids.CAMPAIGN}
        named = {
            name: ids.decode(prefix, given[name])
            for name, prefix in prefixes.items()
            if name in given
        }
        if None in named.values():
            return None
        connector = ids.decode(ids.CONNECTOR, given["connector"]) if "connector" in given else None
        span = _SPANS.get(given.get("time", ""))
        since = datetime.now(UTC) - span if span is not None else _instant(given.get("from"))
        return MessageFilter(
            status=status,
            connector=connector or given.get("connector"),
            template_id=named.get("template"),
            key_id=named.get("key"),
            campaign_id=named.get("campaign"),
            recipient=given.get("q"),
            from_=since,
            to=_instant(given.get("to")),
            mode=self._checked_mode,
        )

    async def _load_names(self, work: Work) -> None:
        """The names behind the ids, for the rows and for the filters' menus."""
        session, access = work.session, work.access
        own_connectors = await connectors.list_connectors(session, access)
        own_templates = await templates.list_templates(session, access)
        own_keys = await keys.list_keys(session, access)
        self._names = {
            "connectors": {
                str(own_connector.id): own_connector.name for own_connector in own_connectors
            },
            "templates": {
                str(own_template.id): own_template.name for own_template in own_templates
            },
            "keys": {str(own_key.id): own_key.name for own_key in own_keys},
        }
        self._put(
            connector_choices=[
                Choice(ids.encode(ids.CONNECTOR, own_connector.id), own_connector.name)
                for own_connector in own_connectors
            ],
            template_choices=[
                Choice(ids.encode(ids.TEMPLATE, own_template.id), own_template.name)
                for own_template in own_templates
            ],
            key_choices=[
                Choice(ids.encode(ids.KEY, own_key.id), own_key.name) for own_key in own_keys
            ],
        )
        self.shown_filters = self._name_filters()

    def _name_filters(self) -> dict[str, str]:
        """What the chips say."""
        choices = {
            item.value: item.name
            for item in (*self.connector_choices, *self.template_choices, *self.key_choices)
        }
        shown = {
            name: choices.get(value, value)
            for name, value in self.filters.items()
            if name not in {"from", "to"}
        }
        if "status" in shown:
            shown["status"] = shown["status"].capitalize()
        if "time" in shown:
            shown["time"] = TIMES.get(shown["time"], shown["time"])
        elif "from" in self.filters or "to" in self.filters:
            shown["time"] = "chosen"
        return shown


def _instant(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None and is_in_range(parsed) else None
