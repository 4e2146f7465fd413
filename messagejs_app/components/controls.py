"""Buttons, fields, badges and the other small pieces every page uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import reflex as rx

from backend.provider_types import icons
from messagejs_app.components import html as h
from messagejs_app.components.html import Child


@dataclass
class Choice:
    """What a menu offers."""

    value: str
    name: str


def option(choice: Choice) -> rx.Component:
    return h.option(choice.name, value=choice.value)


def select(name: str, choices: Any, value: Any, on_change: Any) -> rx.Component:
    return h.select(
        h.each(choices, option),
        id=name,
        name=name,
        value=value,
        on_change=on_change,
        class_name="input",
    )


def button(*children: Child, look: str = "sec", size: str = "", **props: Any) -> rx.Component:
    """`look`: pri (once per view), sec, ghost, danger, red (inside a confirm dialog).

    `size`: "", sm, lg.
    """
    props.setdefault("type", "button")
    extra = props.pop("class_name", "")
    return h.button(*children, class_name=f"btn {look} {size} {extra}", **props)


def link_button(
    *children: Child, to: Any, look: str = "sec", size: str = "", **props: Any
) -> rx.Component:
    return h.link(*children, to=to, class_name=f"btn {look} {size}", **props)


def busy_button(
    text: str, *, busy: Any, icon: str | None = None, look: str = "pri", **props: Any
) -> rx.Component:
    """A button that shows its work and cannot be pressed twice."""
    idle = h.icon(icon) if icon else None
    return button(
        h.when(busy, h.span(class_name="busy"), idle), text, look=look, disabled=busy, **props
    )


def copy_button(
    value: Any, *, text: str | None = "Copy", look: str = "ghost", size: str = "sm"
) -> rx.Component:
    """Copies in the browser (dashboard.js) and says so for a moment."""
    return button(
        h.icon("copy", 14),
        h.icon("check", 14),
        text,
        look=look,
        size=f"{size}{'' if text else ' icon'}",
        data_copy=value,
        aria_label=text or "Copy",
    )


def field(
    label: Child,
    control: rx.Component,
    *,
    hint: Child = None,
    error: Any = None,
    optional: Child = "",
    aside: Child = None,
    **props: Any,
) -> rx.Component:
    """A labeled control; an error takes the place of the hint.

    The label belongs to the control's `id`, or to `control_id` where the control is inside a box.
    `aside` goes at the right end of the label's line.
    """
    control_id = props.pop("control_id", getattr(control, "id", None))
    note = h.span(hint, class_name="hint") if hint is not None else h.fragment()
    below = (
        note
        if error is None
        else h.when(error, h.span(error, class_name="hint bad", role="alert"), note)
    )
    extra = (
        h.fragment()
        if isinstance(optional, str) and not optional
        else h.span(optional, class_name="opt")
    )
    at_right = h.fragment(h.span(class_name="grow"), aside) if aside is not None else h.fragment()
    name = h.span(h.label(label, html_for=control_id), extra, at_right, class_name="label")
    class_name: Any = "field" if error is None else h.pick(error, "field bad", "field")
    return h.div(name, control, below, class_name=class_name, **props)


def text_input(name: str, **props: Any) -> rx.Component:
    """Uncontrolled: what the user types stays in the browser until the form is submitted."""
    extra = props.pop("class_name", "")
    props.setdefault("auto_complete", "off")
    return h.input_(id=props.pop("id", name), name=name, class_name=f"input {extra}", **props)


def check(name: str, text: Child, **props: Any) -> rx.Component:
    return h.label(
        h.input_(type="checkbox", name=name, class_name="check", **props),
        h.span(text),
        class_name="row",
    )


def segment(
    *options: tuple[str, str], value: Any, on_pick: Any, size: str = "sm", label: str = ""
) -> rx.Component:
    """A few exclusive choices side by side; `options` are (value, text)."""
    buttons = [
        h.button(
            text,
            type="button",
            class_name=h.pick(value == key, "on", ""),
            aria_pressed=h.pick(value == key, "true", "false"),
            on_click=on_pick(key),
        )
        for key, text in options
    ]
    return h.div(*buttons, class_name=f"seg {size}", role="group", aria_label=label)


def badge(*children: Child, tone: Any = "") -> rx.Component:
    """`tone`: "", acc, red, amb, grn."""
    return h.span(*children, class_name=f"badge {tone}" if isinstance(tone, str) else tone)


def status(word: Any, css: Any, **props: Any) -> rx.Component:
    """A dot and a word. `css` names the dot (components/statuses.py)."""
    extra = props.pop("class_name", "")
    return h.span(word, class_name=h.join(f"st {extra} ", css), **props)


def provider_icon(kind: Any, *, large: bool = False) -> rx.Component:
    """The icon of a connector type; a plug if it isn't installed any more."""
    size = 16 if large else 14
    cases = [(name, h.icon(icon, size)) for name, icon in icons().items()]
    drawn: rx.Component = rx.match(kind, *cases, h.icon("plug", size))
    return h.span(drawn, class_name="prov lg" if large else "prov")


def card(
    *children: Child, title: Child = None, meta: Child = None, actions: Child = None, **props: Any
) -> rx.Component:
    extra = props.pop("class_name", "")
    if title is None:
        return h.section(*children, class_name=f"card {extra}", **props)
    note = h.span(meta, class_name="muted small hide-s") if meta is not None else h.fragment()
    head = h.div(
        h.h2(title), note, h.span(class_name="grow"), actions or h.fragment(), class_name="ch"
    )
    return h.section(head, *children, class_name=f"card {extra}", **props)


def note(*children: Child, tone: str = "", icon: str = "info") -> rx.Component:
    """`tone`: "" gray, ok, warn, bad."""
    return h.div(h.icon(icon, 14), h.span(*children, class_name="grow"), class_name=f"note {tone}")


def empty(title: str, sentence: str, *action: Child) -> rx.Component:
    return h.div(h.h3(title), h.span(sentence), *action, class_name="empty")


def page_title(title: str, *actions: Child) -> rx.Component:
    return h.div(h.h1(title), h.span(class_name="grow"), *actions, class_name="title mid")


def skeleton_rows(count: int = 3) -> rx.Component:
    """Placeholders in a card until its rows have loaded."""
    rows = [
        h.div(
            h.span(class_name="skel", style={"width": f"{width}%"}), style={"padding": "12px 16px"}
        )
        for width in (38, 52, 30, 46, 34)[:count]
    ]
    return h.div(*rows, aria_hidden="true")
