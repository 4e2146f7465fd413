"""Where the user is signed in, and ending what they do not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import reflex as rx

from backend import ids
from backend.errors import SessionNotFound
from backend.services.access.access import Action
from backend.services.accounts import sessions
from backend.services.lists.paging import PageRequest
from messagejs_app.components import html as h
from messagejs_app.components.controls import badge, button, card, skeleton_rows
from messagejs_app.events import Events, event, say
from messagejs_app.session import Session
from messagejs_app.wording import device, instant

_MOST: Final = 100


@dataclass
class LoginRow:
    id: str
    device: str
    address: str
    last_seen: str
    is_current: bool


class LoginsState(Session):
    logins: list[LoginRow] = []
    is_loaded: bool = False

    @event
    async def load(self) -> Events:
        await self._look()
        self.is_loaded = True
        return None

    @event
    async def end(self, session_id: str) -> Events:
        result = ids.decode(ids.SESSION, session_id)
        if result is None:
            raise SessionNotFound
        async with self._work(Action.VIEW_PROJECT) as work:
            await sessions.end_session(work.session, work.principal, result)
        await self._look()
        return say("That log-in has ended. Its next request is refused.")

    async def _look(self) -> None:
        async with self._work(Action.VIEW_PROJECT) as work:
            page = await sessions.page_of_sessions(
                work.session, work.principal, PageRequest(limit=_MOST)
            )
            current = work.principal.session_id
        self.logins = [
            LoginRow(
                id=ids.encode(ids.SESSION, item.id),
                device=device(item.user_agent),
                address=item.address,
                last_seen=instant(item.last_seen_at),
                is_current=item.id == current,
            )
            for item in page.items
        ]


def logins() -> rx.Component:
    widths = ("", "160px", "112px", "88px")
    columns = [h.col(style={"width": width}) if width else h.col() for width in widths]
    head = h.tr(h.th("Device"), h.th("Address"), h.th("Last seen"), h.th())
    table = h.table(
        h.colgroup(*columns),
        h.thead(head),
        h.tbody(h.each(LoginsState.logins, _row)),
        class_name="cards",
    )
    return card(
        h.when(LoginsState.is_loaded, table, skeleton_rows(1)), title="Where you are signed in"
    )


def _row(row: LoginRow) -> rx.Component:
    end = button("End", look="ghost", size="sm", on_click=LoginsState.end(row.id))
    return h.tr(
        h.td(
            h.div(
                h.span(row.device, class_name="med ell"),
                h.when(row.is_current, badge("This one")),
                class_name="row",
            )
        ),
        h.td(row.address, class_name="muted drop"),
        h.td(h.time(row.last_seen, "ago"), class_name="muted sub2"),
        h.td(h.when(row.is_current, None, end), class_name="right end"),
        key=row.id,
    )
