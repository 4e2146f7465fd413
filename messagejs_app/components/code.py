"""Code, colored and ready to copy."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import copy_button
from messagejs_app.snippets import Piece


def _piece(piece: Piece) -> rx.Component:
    return h.span(piece.text, class_name=piece.css)


def code(parts: Any, **props: Any) -> rx.Component:
    return h.pre(h.each(parts, _piece), **props)


def code_tabs(
    *, language: Any, on_pick: Any, text: Any, parts: Any, small: bool = False
) -> rx.Component:
    """The call in three languages with a Copy button."""
    names = (("javascript", "JavaScript"), ("python", "Python"), ("curl", "cURL"))
    tabs = [
        h.button(
            name,
            type="button",
            role="tab",
            class_name=h.pick(language == key, "on", ""),
            on_click=on_pick(key),
            aria_selected=h.pick(language == key, "true", "false"),
        )
        for key, name in names
    ]
    bar = h.div(
        *tabs,
        h.span(copy_button(text), class_name="end"),
        class_name="tabs small" if small else "tabs",
        role="tablist",
    )
    return h.fragment(bar, code(parts))
