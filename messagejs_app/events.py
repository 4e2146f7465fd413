"""Typed doors to Reflex's events: its decorator and its built-in events are `Any` to a type checker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import reflex as rx
from reflex_base.event import EventSpec
from reflex_base.style import set_color_mode

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
    """A handler beside the tab's queue. A newer call of it, a navigation or a closed tab ends the older."""
    decorate = cast("Callable[..., Any]", rx.event)
    return cast("Handler[P]", decorate(handler, background=True, supersedes=True))


def go_to(path: str) -> EventSpec:
    return rx.redirect(path)


def say(text: str) -> EventSpec:
    """A toast: what happened, and what it means."""
    return cast("EventSpec", rx.toast.success(text))


def complain(text: str) -> EventSpec:
    """A toast that stays until it is closed."""
    return cast("EventSpec", rx.toast.error(text, duration=60_000))


def debounced(spec: Any, milliseconds: int = 200) -> EventSpec:
    """The event once typing has paused."""
    return cast("EventSpec", spec.debounce(milliseconds))


def run(script: str) -> EventSpec:
    return rx.call_script(script)


def color_mode(mode: str) -> EventSpec:
    """ "light", "dark" or "system"; kept by the browser."""
    return set_color_mode(cast("Any", mode))
