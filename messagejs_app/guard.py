"""The guard of the dashboard's socket: no event reaches a State before its log-in has been checked.

At the door for what a browser sends, so that nothing of a stranger is stored; and again before each
handler, for what other handlers have queued. The entrance pages alone are for everybody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID, uuid4

import reflex as rx
import structlog
from reflex.app import EventNamespace
from reflex.middleware.middleware import Middleware
from reflex.state import BaseState, StateUpdate
from reflex_base.event import Event
from reflex_base.event.context import EventContext
from reflex_base.registry import RegistrationContext

from backend.errors import Unauthenticated
from messagejs_app.connection import address_in, cookie_header, session_cookie
from messagejs_app.events import complain
from messagejs_app.payloads import HYDRATE, ON_LOAD, UPDATE_VARS, Refused, TooLong, read_event
from messagejs_app.session import explain
from messagejs_app.tabs import Tab, Tabs, TooManyTabs

log = structlog.get_logger(__name__)

# How long a check of the log-in holds. What reads or changes data asks again by itself.
TRUSTED_FOR_S: Final = 3.0
_LONGEST_TOKEN: Final = 100
# What browsers send, and with how many arguments.
_FROM_BROWSERS: Final = {"event": {1}, "ping": {0}, "client_error": {0, 1}}
_MOST_WAITING: Final = 50
_LOOK_AGAIN_S: Final = 0.05

SessionOf = Callable[[str], Awaitable[UUID | None]]


class Guard:
    """Knows which events are for everybody, and who is signed in."""

    def __init__(
        self, tabs: Tabs, session_of: SessionOf, public: Iterable[type[BaseState]]
    ) -> None:
        """`session_of` returns the log-in that a cookie's value belongs to, None for one that has
        ended.
        """
        self.tabs = tabs
        self.session_of = session_of
        self._public = {state.get_full_name() for state in public}
        self._storage = _stored_names(RegistrationContext.get().base_states.values())
        self._public_storage = frozenset(
            name for name in self._storage if name.rpartition(".")[0] in self._public
        )

    def storage_for(self, tab: Tab) -> frozenset[str]:
        """The browser's remembered values that are taken over."""
        return self._storage if tab.session_id is not None else self._public_storage

    def is_public(self, event_name: str) -> bool:
        return event_name.rpartition(".")[0] in self._public

    async def is_signed_in(self, tab: Tab) -> bool:
        if tab.session_id is None or tab.has_ended:
            return False
        if time.monotonic() - tab.checked_at < TRUSTED_FOR_S:
            return True
        if await self.session_of(tab.cookie) != tab.session_id:
            self.tabs.end({tab.session_id})
            return False
        tab.checked_at = time.monotonic()
        return True

    async def may(self, tab: Tab, event: dict[str, Any], app: rx.App) -> bool:
        """Tell whether the browser may send this: signed in, or a page that is for everybody."""
        if self.is_public(event["name"]) or await self.is_signed_in(tab):
            return True
        if tab.has_ended or event["name"] not in {HYDRATE, ON_LOAD, UPDATE_VARS}:
            return False
        loads = Event.from_event_type(app.get_load_events(event["router_data"]["pathname"]))
        return all(self.is_public(load.name) for load in loads)


class SessionCheck(Middleware):
    """The same check before each handler runs, also where another handler has queued it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def preprocess(self, app: rx.App, state: BaseState, event: Event) -> StateUpdate | None:
        del app, state
        if event.name.startswith("reflex___state____state.reflex___") or event.name.count(".") == 1:
            return None  # Reflex's own: it shows what there is, and queues what is checked here
        if self._guard.is_public(event.name):
            return None
        tab = self._guard.tabs.of_key(EventContext.get().token)
        if tab is not None and await self._guard.is_signed_in(tab):
            return None
        return StateUpdate(events=sign_in())


class GuardedNamespace(EventNamespace):
    """Reflex's end of the websockets, behind the guard."""

    guard: Guard

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Called for what Socket.IO tells and for what browsers send: the names of both are in one
        space.
        """
        if not self._is_genuine(event, args):
            log.debug("dashboard.event_refused", reason="not an event of a browser")
            return None
        try:
            return await super().trigger_event(event, *args)
        except (
            Exception
            # whatever one event did, the socket goes on, and its contents stay out of the log
        ) as exc:
            if event == "connect":
                if not isinstance(exc, ConnectionRefusedError):
                    log.warning("dashboard.connect_failed", error=type(exc).__name__)
                raise ConnectionRefusedError("The server cannot take this now; try again.") from exc
            await self._emit(args[0], Event.from_event_type(explain(exc)))
            return None

    def _is_genuine(self, event: str, args: tuple[Any, ...]) -> bool:
        server: Any = self.server
        if event == "connect":
            return len(args) > 1 and args[1] is server.get_environ(args[0], self.namespace)
        if event == "disconnect":
            return not server.manager.is_connected(args[0], self.namespace)
        return len(args) - 1 in _FROM_BROWSERS.get(event, ())

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        tokens = parse_qs(environ.get("QUERY_STRING", "")).get("token", [])
        if len(tokens) != 1 or len(tokens[0]) > _LONGEST_TOKEN:
            raise ConnectionRefusedError("The tab has no name; reload the page.")
        scope = environ["asgi.scope"]
        cookie = session_cookie(cookie_header(scope)) or ""
        session_id = await self.guard.session_of(cookie) if cookie else None
        tab = Tab(tokens[0], session_id, cookie, address_in(scope), time.monotonic())
        try:
            self.guard.tabs.add(sid, tab)
        except TooManyTabs:
            raise ConnectionRefusedError("Too many tabs are open; close some.") from None
        try:
            await super().on_connect(sid, environ, auth if isinstance(auth, dict) else None)
        except BaseException:
            self.guard.tabs.leave(sid)
            raise

    def on_disconnect(self, sid: str) -> Any:
        self.guard.tabs.leave(sid)
        return super().on_disconnect(sid)

    async def on_event(self, sid: str, data: Any) -> None:
        tab = self.guard.tabs.of_socket(sid)
        if tab is None or sid not in self.sid_to_token:
            return
        try:
            event = read_event(data, storage=self.guard.storage_for(tab))
        except Refused as exc:
            log.debug("dashboard.event_refused", reason=str(exc))
            if isinstance(exc, TooLong) and tab.session_id is not None:
                reported = (
                    f"That text is too long: {exc.longest:,} characters are the most. Nothing was"
                    " saved or sent."
                )
                await self._emit(sid, Event.from_event_type(complain(reported)))
            return
        if not await self.guard.may(tab, event, self.app):
            await self._emit(sid, sign_in())
            return
        await self._wait_for_room(tab)
        await super().on_event(sid, event)

    async def _wait_for_room(self, tab: Tab) -> None:
        """Read no further while a tab's handlers are behind: what waits is its sender's, not our
        memory's.
        """
        waiting = self.app.event_processor._token_queues  # noqa: SLF001 (Reflex shows its queues nowhere else)
        while len(waiting.get(tab.key, ())) >= _MOST_WAITING:  # noqa: ASYNC110 (Reflex tells nobody)
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def on_client_error(self, sid: str, data: Any = None) -> None:
        tab = self.guard.tabs.of_socket(sid)
        if tab is not None and tab.session_id is not None:
            await super().on_client_error(sid, data)

    async def link_token_to_sid(self, sid: str, token: str, *, update_state: bool = True) -> None:
        """Link the socket with its tab's key: `token` is only half of it.

        A copied tab gets a name of its own.
        """
        del token, update_state
        tab = self.guard.tabs.of_socket(sid)
        if tab is None:
            raise ConnectionRefusedError("The tab is gone; reload the page.")
        if await self._token_manager.link_token_to_sid(tab.key, sid) is None:
            return
        await self._token_manager.disconnect_token(self.sid_to_token[sid], sid)
        self.guard.tabs.rename(sid, str(uuid4()))
        await self._token_manager.link_token_to_sid(tab.key, sid)
        await self.emit("new_token", tab.token, to=sid)

    async def tell_ended(self, sid: str) -> None:
        """Send a tab whose log-in has ended to the log-in page."""
        await self._emit(sid, sign_in())

    async def _emit(self, sid: str, events: list[Event]) -> None:
        if events:
            await self.emit("event", StateUpdate(events=events), to=sid)


def sign_in() -> list[Event]:
    """What a browser does that is not signed in."""
    return Event.from_event_type(explain(Unauthenticated()))


def report_page_failure(exception: Exception) -> None:
    """What a page says went wrong in it: a line, however long it is."""
    log.warning("dashboard.page_failed", error=str(exception)[:500])


def quiet_engine() -> None:
    """Engine.IO logs a traceback for each message that is no message; anybody can send those."""
    logging.getLogger("engineio.server").setLevel(logging.CRITICAL)


def _stored_names(states: Iterable[type[BaseState]]) -> frozenset[str]:
    """The fields that browsers remember, as Reflex names them."""
    return frozenset(
        f"{state.get_full_name()}.{name}"
        for state in states
        for name in state.base_vars
        if state._is_client_storage(name)  # noqa: SLF001 (Reflex has no other way to ask)
    )
