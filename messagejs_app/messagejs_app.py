"""Composition root: the dashboard's pages, and the public API in front of them on the same port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import reflex as rx
from reflex.istate.manager.redis import StateManagerRedis
from reflex.utils import prerequisites
from reflex_base import constants
from reflex_base.config import get_config
from starlette.types import ASGIApp, Scope

from backend.api.app import create_api
from backend.errors import Unauthenticated
from backend.platform import current_platform
from backend.services.accounts import sessions, users
from backend.settings import get_settings
from messagejs_app import theme
from messagejs_app.components.html import PREVIEW_PATH
from messagejs_app.connection import address_in, cookie_header, session_cookie
from messagejs_app.front import door, front
from messagejs_app.guard import (
    Guard,
    GuardedNamespace,
    SessionCheck,
    quiet_engine,
    report_page_failure,
)
from messagejs_app.page_headers import PageHeaders, inline_scripts
from messagejs_app.pages import PUBLIC, register
from messagejs_app.session import explain
from messagejs_app.sockets import SocketDoor, SocketLimits
from messagejs_app.states import TabStates, drop_state
from messagejs_app.tabs import Tabs


class Dashboard(rx.App):
    """The Reflex app with the API in front: what the web server calls to get its ASGI application.

    Not through `api_transformer`: Reflex would answer the API's CORS preflights by the rules of
    the dashboard.
    """

    tabs: Tabs

    def _setup_state(self) -> None:
        """Put the guard in front of Reflex's websockets; called while the app is created."""
        super()._setup_state()
        namespace = GuardedNamespace(get_config().get_event_namespace(), self)
        self.tabs = Tabs(drop=self._drop_state, alive=_alive, tell_ended=namespace.tell_ended)
        namespace.guard = Guard(self.tabs, _session_of, PUBLIC)
        self._event_namespace = namespace
        sockets: Any = self.sio
        sockets.register_namespace(namespace)
        if not isinstance(self._state_manager, StateManagerRedis):
            in_memory: Any = TabStates  # whose methods Reflex's overloads hide from type checkers
            self._state_manager = in_memory(self.tabs.has)
        self.add_middleware(SessionCheck(namespace.guard), index=0)
        quiet_engine()

    async def _drop_state(self, key: str) -> bool:
        return await drop_state(self.state_manager, key)

    def __call__(self) -> ASGIApp:
        api = create_api()

        @asynccontextmanager
        async def api_lifespan() -> AsyncIterator[None]:
            async with api.router.lifespan_context(api):
                platform = current_platform()
                platform.on_change.append(lambda changes: self.tabs.end(sessions.ended_in(changes)))
                platform.background.start("dashboard-tabs", self.tabs.run)
                platform.background.start("dashboard-sockets", sockets.watch)
                yield

        self.register_lifespan_task(api_lifespan)
        settings = get_settings()
        limits = SocketLimits(
            of_address=settings.sockets_per_address, memory_mb=settings.web_memory_mb
        )
        sockets = SocketDoor(super().__call__(), limits, address_in, _login_in)
        pages = door(sockets, allowed_origins=_allowed_origins())
        scripts = inline_scripts(_site())
        return front(
            api,
            PageHeaders(pages, scripts=scripts, preview_path=PREVIEW_PATH, is_https=_is_https()),
        )


async def _session_of(cookie: str) -> UUID | None:
    """Return the log-in of the cookie's value; None if it has ended."""
    try:
        async with current_platform().database.transaction() as session:
            return (await users.authenticate_cookie(session, cookie)).session_id
    except Unauthenticated:
        return None


async def _login_in(scope: Scope) -> UUID | None:
    cookie = session_cookie(cookie_header(scope))
    return await _session_of(cookie) if cookie else None


async def _alive(session_ids: set[UUID]) -> set[UUID]:
    async with current_platform().database.session() as session:
        return await sessions.live_sessions(session, session_ids)


def _allowed_origins() -> frozenset[str]:
    settings = get_settings()
    public = urlsplit(settings.public_url)
    return frozenset({f"{public.scheme}://{public.netloc}", *settings.allowed_origins})


def _site() -> Path:
    """Return the directory of the built pages."""
    return prerequisites.get_web_dir() / constants.Dirs.STATIC


def _is_https() -> bool:
    return get_settings().public_url.startswith("https://")


app = Dashboard(
    backend_exception_handler=explain,
    frontend_exception_handler=report_page_failure,
    **theme.app_options(),
)
register(app)
