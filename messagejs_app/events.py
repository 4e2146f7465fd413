"""Typed doors to Reflex's events: its decorator and its built-in events are `Any` to a type
checker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, cast

import reflex as rx
from reflex_base.event import Event, EventSpec
from reflex_base.style import set_color_mode

from backend.services.accounts.local_paths import is_local_path

# The element that carries out what the server asks of the browser; theme.py puts it on every page.
COMMAND_ID: Final = "command"
P = ParamSpec("P")
StateT = TypeVar("StateT")
# What a handler may return: events for the browser to run next.
Events = EventSpec | list[EventSpec] | None
# A handler that yields shows what it has changed so far: that it works, before it has the result.
Steps = AsyncIterator[Events]


class Handler(Protocol[P]):
    """A State's event as a view sees it: itself an event, or one once it has its arguments."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> EventSpec: ...


def event(handler: Callable[Concatenate[StateT, P], Awaitable[Events] | Steps]) -> Handler[P]:
    decorate = cast("Callable[..., Any]", rx.event)
    return cast("Handler[P]", decorate(handler))


def background(handler: Callable[Concatenate[StateT, P], Awaitable[Events]]) -> Handler[P]:
    """A handler beside the tab's queue.

    A newer call of it, a navigation or a closed tab ends the older.
    """
    decorate = cast("Callable[..., Any]", rx.event)
    return cast("Handler[P]", decorate(handler, background=True, supersedes=True))


def go_to(path: str) -> EventSpec:
    """Another page of ours; the first one when `path` is none, anyone who made it up."""
    target = path if is_local_path(path) else "/"
    return _in_browser(
        "_redirect", {"path": target, "external": False, "popup": False, "replace": False}
    )


def say(text: str) -> EventSpec:
    """A toast: what happened, and what it means."""
    return _command("toast", tone="success", text=text)


def complain(text: str) -> EventSpec:
    """A toast that stays until it is closed."""
    return _command("toast", tone="error", text=text, duration_ms=60_000)


def sign_in() -> EventSpec:
    """The log-in page by a full page load, and from there back: the websocket holds the cookie it
    was opened with.
    """
    return _command("sign-in")


def sign_out() -> EventSpec:
    """For a view, not a handler: end the log-in, by a full page load too."""
    return rx.set_value(COMMAND_ID, {"do": "sign-out"})


def open_page(path: Any) -> EventSpec:
    """For a view, not a handler: a page whose address only the browser knows, as a Var."""
    return rx.redirect(path)


def _command(name: str, **details: Any) -> EventSpec:
    """One of the commands in assets/dashboard.js; Reflex sets the value of the element that carries
    them out.
    """
    return _in_browser("_set_value", {"ref": f"ref_{COMMAND_ID}", "value": {"do": name, **details}})


def _in_browser(name: str, payload: dict[str, Any]) -> EventSpec:
    """An event that Reflex sends as it is.

    Its own functions would read the payload's texts as code, twice:

    here, where they make a Var of each, and in the browser, where a script from the server is
    evaluated.
    """
    return cast("EventSpec", Event(name=name, payload=payload))


def debounced(spec: Any, milliseconds: int = 200) -> EventSpec:
    """The event once typing has paused."""
    return cast("EventSpec", spec.debounce(milliseconds))


def color_mode(mode: str) -> EventSpec:
    """ "light", "dark" or "system"; kept by the browser."""
    return set_color_mode(cast("Any", mode))
