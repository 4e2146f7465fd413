"""Typed doors to Reflex: its elements are looked up lazily, which a type checker sees as `Any`.

`h.div("text", class_name="card")` is `rx.el.div`, known to return a component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, TypeVar

import reflex as rx
from reflex_base.constants.compiler import MemoizationDisposition, MemoizationMode
from reflex_base.utils.imports import ImportVar

Child = Any
ItemT = TypeVar("ItemT")
PREVIEW_PATH: Final = "/preview.html"
# The one that Reflex's own toaster draws with, in its version.
TOAST_LIBRARY: Final = str(rx.toast.provider().library)


class _Element:
    """One HTML element; calling it makes a component."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *children: Child, **props: Any) -> rx.Component:
        return tag(self._name, *children, **props)


def tag(element: str, /, *children: Child, **props: Any) -> rx.Component:
    """Return `element`; `data_*` properties become attributes of that name."""
    component: rx.Component = getattr(rx.el, element)(
        *children, **_with_attributes(props, ("data_",))
    )
    return component


def _with_attributes(props: dict[str, Any], prefixes: tuple[str, ...]) -> dict[str, Any]:
    """Move the properties with these prefixes to where Reflex passes attributes on as they are."""
    moved = {
        name.replace("_", "-"): props.pop(name) for name in list(props) if name.startswith(prefixes)
    }
    return {**props, "custom_attrs": {**moved, **props.get("custom_attrs", {})}} if moved else props


article, aside, button, col, colgroup = map(
    _Element, ("article", "aside", "button", "col", "colgroup")
)
dd, div, dl, dt, em, form = map(_Element, ("dd", "div", "dl", "dt", "em", "form"))
h1, h2, h3, header, hr, i, iframe = map(_Element, ("h1", "h2", "h3", "header", "hr", "i", "iframe"))
input_, label, main, mark, nav, option = map(
    _Element, ("input", "label", "main", "mark", "nav", "option")
)
p, pre, section, select, span, strong = map(
    _Element, ("p", "pre", "section", "select", "span", "strong")
)
table, tbody, td, textarea, th, thead, tr = map(
    _Element, ("table", "tbody", "td", "textarea", "th", "thead", "tr")
)
external = _Element("a")


class _Link(rx.Component):
    library = "react-router"
    tag = "Link"
    alias = "RouterLink"

    to: rx.Var[str]


def link(*children: Child, to: Any, **props: Any) -> rx.Component:
    """A link inside the dashboard: no page load."""
    return _Link.create(
        *children, to=to, **_with_attributes(props, ("data_", "aria_", "title", "role"))
    )


def when(condition: Any, then: Child, otherwise: Child = None) -> rx.Component:
    component: rx.Component = rx.cond(
        condition, then, rx.fragment() if otherwise is None else otherwise
    )
    return component


def pick(condition: Any, then: Any, otherwise: Any) -> Any:
    """Choose between two values (not components) in the browser."""
    return rx.cond(condition, then, otherwise)


def join(*parts: Any) -> Any:
    """Put texts together, some of which only the browser knows."""
    whole: Any = rx.Var.create("")
    for part in parts:
        whole = whole + part
    return whole


def each(items: Iterable[ItemT], draw: Callable[[ItemT], rx.Component]) -> rx.Component:
    """Draw every item of a state's list; at run time `items` is a Var and so is what `draw`
    gets.
    """
    component: rx.Component = rx.foreach(items, draw)
    return component


def icon(name: str, size: int = 16, **props: Any) -> rx.Component:
    """A Lucide icon; decoration, so hidden from screen readers."""
    component: rx.Component = rx.icon(
        name, size=size, stroke_width=1.75, custom_attrs={"aria-hidden": "true"}, **props
    )
    return component


def fragment(*children: Child) -> rx.Component:
    component: rx.Component = rx.fragment(*children)
    return component


class _Native(rx.Component):
    """An element written out as it is."""

    _is_tag_in_global_scope: ClassVar[bool] = True


class _CustomElement(_Native):
    """An element that assets/dashboard.js defines and fills itself.

    Never memoized: Reflex makes a JavaScript name of the tag then, and a hyphen cannot be in one.
    """

    _memoization_mode = MemoizationMode(disposition=MemoizationDisposition.NEVER)


class _Time(_CustomElement):
    tag = "mj-time"


class _Keys(_CustomElement):
    tag = "mj-keys"


class _Palette(_CustomElement):
    tag = "mj-palette"


class _Command(_CustomElement):
    """Carries out what the server asks of the browser, by the list in assets/dashboard.js.

    A toast is drawn by the library that Reflex's toaster is; the script reaches it here.
    """

    tag = "mj-command"

    def add_imports(self) -> dict[str, str | ImportVar | list[str | ImportVar] | list[ImportVar]]:
        return {TOAST_LIBRARY: ImportVar(tag="toast", install=False)}

    def add_hooks(self) -> list[str | rx.Var[Any]]:
        return ["globalThis.mjToast = toast;"]


class _Preview(_CustomElement):
    tag = "mj-preview"


def preview(html: Any, *, title: str) -> rx.Component:
    """Somebody's HTML in a frame without scripts: what it holds cannot touch the dashboard.

    The frame has a document of its own, into which assets/dashboard.js writes. One made of the HTML
    alone (`srcdoc`) would be under the dashboard's content security policy: no style of a mail, and
    no picture.
    """
    page = iframe(title=title, custom_attrs={"sandbox": "allow-same-origin", "src": PREVIEW_PATH})
    return _Preview.create(page, custom_attrs={"html": html})


def command(element_id: str) -> rx.Component:
    return _Command.create(id=element_id, custom_attrs={"hidden": True})


def time(at: Any, kind: str = "clock", **props: Any) -> rx.Component:
    """An instant (ISO 8601) in the viewer's zone, exact on hover.

    `kind`: clock 08:59:41, millis 08:59:41.207, short 08:59, stamp "Sat 21 Nov, 08:59:41", day "16
    Nov", ago "8 s ago".
    """
    return _Time.create(custom_attrs={"at": at, "kind": kind}, **props)


def keys(combination: str, **props: Any) -> rx.Component:
    """A key as the viewer's keyboard names it: "mod+K" is Ctrl K or Command K."""
    return _Keys.create(custom_attrs={"keys": combination}, class_name="kbd", **props)


def palette(items: Any) -> rx.Component:
    return _Palette.create(custom_attrs={"items": items})


class _NativeForm(_Native):
    """A form that the browser posts itself; Reflex's own always prevents that."""

    tag = "form"

    action: rx.Var[str]
    method: rx.Var[str]


def native_form(*children: Child, action: str, **props: Any) -> rx.Component:
    return _NativeForm.create(
        *children, action=action, method="post", **_with_attributes(props, ("hidden",))
    )
