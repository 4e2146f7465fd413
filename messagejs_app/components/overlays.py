"""What floats: dialogs and menus, on Radix for focus, Escape and screen readers."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import busy_button, button
from messagejs_app.components.html import Child


def dialog(
    *children: Child,
    is_open: Any,
    title: Child,
    sentence: Child = None,
    on_change: Any = None,
    narrow: bool = False,
) -> rx.Component:
    """A dialog over the page. Without `on_change`, Escape and a click outside do nothing."""
    props: dict[str, Any] = {"open": is_open}
    content: dict[str, Any] = {"class_name": "mj-dialog narrow" if narrow else "mj-dialog"}
    if on_change is not None:
        props["on_open_change"] = on_change
    else:
        content |= {
            "on_escape_key_down": rx.prevent_default,
            "on_interact_outside": rx.prevent_default,
        }
    if sentence is None:
        content["aria_describedby"] = ""
    heading = h.div(
        rx.dialog.title(title, as_child=False, class_name="mj-title", margin="0", size="5"),
        (
            rx.dialog.description(sentence, class_name="sub", size="2")
            if sentence is not None
            else h.fragment()
        ),
        class_name="dh",
    )
    body: rx.Component = rx.dialog.content(heading, *children, **content)
    root: rx.Component = rx.dialog.root(body, **props)
    return root


def confirm(
    *,
    is_open: Any,
    title: Child,
    sentence: Child,
    verb: str,
    on_confirm: Any,
    on_change: Any,
    busy: Any = False,
) -> rx.Component:
    """Ask before something that cannot be undone."""
    foot = h.div(
        button("Keep", on_click=on_change(False)),
        busy_button(verb, busy=busy, look="red", on_click=on_confirm),
        class_name="df",
    )
    return dialog(
        foot, is_open=is_open, title=title, sentence=sentence, on_change=on_change, narrow=True
    )


def menu(
    trigger: rx.Component, *items: Child, align: str = "end", side: str = "bottom"
) -> rx.Component:
    root: rx.Component = rx.dropdown_menu.root(
        rx.dropdown_menu.trigger(trigger),
        rx.dropdown_menu.content(
            *items,
            align=align,
            side=side,
            side_offset=4,
            class_name="mj-menu",
            variant="soft",
            size="2",
        ),
        modal=False,
    )
    return root


def menu_item(
    text: Child, icon: str | None = None, *, danger: bool = False, tick: Any = None, **props: Any
) -> rx.Component:
    tail = (
        h.when(tick, h.icon("check", 14, class_name="tick")) if tick is not None else h.fragment()
    )
    item: rx.Component = rx.dropdown_menu.item(
        h.icon(icon, 14) if icon else h.fragment(),
        h.span(text),
        tail,
        class_name="danger" if danger else "",
        **props,
    )
    return item


def menu_line(*children: Child) -> rx.Component:
    return h.div(*children, class_name="head-line")


def menu_rule() -> rx.Component:
    rule: rx.Component = rx.dropdown_menu.separator()
    return rule


def more_menu(*items: Child) -> rx.Component:
    """The `...` at the end of a row."""
    trigger = button(
        h.icon("ellipsis"), look="ghost", size="icon sm", aria_label="More", class_name="act"
    )
    return menu(trigger, *items)
