"""Who works in this tab: the signed-in user, their project and mode.

Every handler that reads or changes begins with `_work`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import reflex as rx
import structlog
from reflex_base.event import EventSpec
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.errors import AppError, ProjectNotFound, Unauthenticated
from backend.platform import Platform, current_platform
from backend.services.access.access import Access, Action, Mode, UserPrincipal, access_of_user
from backend.services.accounts import projects, users
from backend.services.accounts.local_paths import is_local_path
from messagejs_app.connection import address_behind, session_cookie
from messagejs_app.events import Events, complain, event, go_to, sign_in
from messagejs_app.states import TabClosed

log = structlog.get_logger(__name__)

_apps: list[rx.App] = []


@dataclass
class ProjectChoice:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Work:
    """What a handler works with: an open transaction, and what the user may do in the project."""

    platform: Platform
    session: AsyncSession
    principal: UserPrincipal
    access: Access


class Session(rx.State):
    """The base of every page's State.

    What the browser remembers (project, mode) is checked on every use.

    A method that isn't an event starts with an underscore: Reflex lets the browser call every other
    method.
    """

    user_name: str = ""
    user_email: str = ""
    initials: str = ""
    projects: list[ProjectChoice] = []
    project_name: str = ""
    project_id: str = rx.LocalStorage("", name="mjs_project")
    mode: str = rx.LocalStorage("", name="mjs_mode")
    # Minutes east of UTC, written by dashboard.js: whose days and hours a chart shows.
    utc_offset: str = rx.LocalStorage("0", name="mjs_utc_offset")
    # Written by dashboard.js too: where the browser reached us.
    origin: str = rx.LocalStorage("", name="mjs_origin")
    is_ready: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        if "load" in vars(cls):
            cls.load = _forgetting(vars(cls)["load"])
        super().__init_subclass__(**options)

    def _forget(self) -> None:
        """Show nothing: every field of this page's own is as in a new tab, but what the browser
        remembers.
        """
        ours = type(self)
        for name, item in ours.get_fields().items():
            if item._owner is ours and not ours._is_client_storage(item):  # noqa: SLF001 (as Reflex's own reset)
                setattr(self, name, item.default_value())

    @asynccontextmanager
    async def _work(self, action: Action) -> AsyncIterator[Work]:
        """Open a transaction for `action`; it commits at the end.

        Raises Unauthenticated, ProjectNotFound, Forbidden, which `explain` turns into a log-in page
        or a toast.
        """
        platform = current_platform()
        async with platform.database.transaction() as session:
            principal = await self._principal(session)
            project_id = await self._current_project(session, principal)
            access = await access_of_user(session, principal, project_id, action)
            yield Work(platform, session, principal, access)

    async def _authorize(self, action: Action) -> tuple[Platform, Access]:
        """The same check for work that opens its own transactions (a send, a provider's test)."""
        async with self._work(action) as work:
            return work.platform, work.access

    @property
    def _checked_mode(self) -> Mode:
        return "test" if self.mode == "test" else "live"

    @property
    def _base_url(self) -> str:
        """The URL that examples call: the configured one, else the one the browser uses."""
        settings = current_platform().settings
        return (
            settings.public_url
            if settings.api_base_url or not self.origin
            else self.origin.rstrip("/")
        )

    @property
    def _path(self) -> str:
        """The page's path; a hard load comes with a slash at the end, a click on a link without."""
        return self.router.url.path.rstrip("/") or "/"

    @property
    def _address(self) -> str:
        """The open page's path and query, put together by us: what the browser says of itself is
        only read.
        """
        if not is_page(self._path):
            return "/"
        query = urlencode(self.router.url.query_parameters)
        return f"{self._path}?{query}" if query else self._path

    async def _enter(self) -> None:
        """Fill the frame: who, which project, which mode. Every page's `load` calls it first."""
        platform = current_platform()
        async with platform.database.transaction() as session:
            principal = await self._principal(session)
            project_id = await self._current_project(session, principal)
            user = await users.get_user(session, principal)
            mine = await projects.list_projects(session, principal)
            self.projects = [
                ProjectChoice(ids.encode(ids.PROJECT, item.id), item.name) for item in mine
            ]
            self.project_id = ids.encode(ids.PROJECT, project_id)
            self.project_name = next(item.name for item in mine if item.id == project_id)
            self.user_name = user.name or user.email
            self.user_email = user.email
            self.initials = initials_of(self.user_name)
            if self.mode not in {"live", "test"}:
                self.mode = "test"
        self.is_ready = True

    @event
    async def choose_project(self, project_id: str) -> Events:
        self.project_id = project_id
        return go_to("/")

    @event
    async def choose_mode(self, mode: str) -> Events:
        """The page's `load` runs again: everything on it belongs to one mode."""
        await self._authorize(Action.VIEW_PROJECT)
        self.mode = "test" if mode == "test" else "live"
        return go_to(self._address)

    def _put(self, **values: Any) -> None:
        """Set what differs: only that goes over the wire."""
        for name, value in values.items():
            if getattr(self, name) != value:
                setattr(self, name, value)

    def _is_watched(self, path: str) -> bool:
        """Tell whether the tab is still there and still on `path`: when not, background work
        ends.
        """
        return self._path == path and is_connected(self.router.session.client_token)

    async def _principal(self, session: AsyncSession) -> UserPrincipal:
        """Who is signed in, at the address of this very tab. Raises Unauthenticated."""
        cookie = session_cookie(self.router.headers.cookie)
        if cookie is None:
            raise Unauthenticated
        principal = await users.authenticate_cookie(session, cookie)
        forwarded_for = self.router.headers.raw_headers.get("x-forwarded-for", "")
        return replace(
            principal, address=address_behind(self.router.session.client_ip, forwarded_for)
        )

    async def _current_project(self, session: AsyncSession, principal: UserPrincipal) -> UUID:
        """The project the browser remembers if it is one of the user's, else their first."""
        mine = await projects.list_projects(session, principal)
        expected = ids.decode(ids.PROJECT, self.project_id or "")
        if expected is not None and any(item.id == expected for item in mine):
            return expected
        if not mine:
            raise ProjectNotFound("You are in no project; make one with POST /api/v1/projects.")
        return mine[0].id


def _forgetting(load: Any) -> Any:
    """A page that may not be loaded must not go on showing, or naming, what it showed before."""

    @wraps(load)
    async def loading(self: Session) -> Events:
        try:
            events: Events = await load(self)
        except BaseException:
            self._forget()
            raise
        return events

    return loading


def is_connected(client_token: str) -> bool:
    """Tell whether the tab's websocket is open in this process."""
    namespace = _apps[-1].event_namespace if _apps else None
    return namespace is not None and client_token in namespace.token_to_sid


def is_page(path: str) -> bool:
    """Tell whether the app has a page there."""
    return is_local_path(path) and bool(_apps) and _apps[-1].router(path) is not None


def bind(app: rx.App) -> None:
    """Say which app's websockets `is_connected` asks, and which app's pages `is_page` knows."""
    _apps.append(app)


def initials_of(name: str) -> str:
    words = [word for word in name.replace("@", " ").split() if word[0].isalnum()]
    letters = words[0][0] + words[1][0] if len(words) > 1 else (words[0][:2] if words else "?")
    return letters.upper()


def explain(exception: Exception) -> EventSpec | None:
    """What the browser does about an exception that a handler let out; given to rx.App."""
    match exception:
        case TabClosed():
            return None
        case Unauthenticated():
            return sign_in()
        case AppError():
            return complain(exception.message)
        case _:
            log.error("dashboard.failed", exc_info=exception)
            return complain(
                "The server could not do that; its log says why. Try again, or reload the page."
            )


def field_errors(exc: AppError) -> dict[str, str]:
    """The error's sentences by field, for the form that caused them; "" holds what names no
    field.
    """
    if not exc.errors:
        return {"": exc.message}
    # What the API's caller is told to add to the body, a form has a field for.
    return {
        error.field: f"{error.message.partition('; add it to')[0].rstrip('.')}."
        for error in exc.errors
    }
