"""How dead letters look: the list with its reasons, and what can be done with one, some or all."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    busy_button,
    button,
    empty,
    link_button,
    provider_icon,
    skeleton_rows,
)
from messagejs_app.components.overlays import confirm, menu, menu_item, more_menu
from messagejs_app.events import open_page
from messagejs_app.layout import frame
from messagejs_app.pages.dead_letters.state import CODES, PATH, Choice, DeadLettersState, Row

_STATE = DeadLettersState


def page() -> rx.Component:
    return frame(
        _head(),
        _filters(),
        h.when(
            _STATE.is_loaded,
            h.when(_STATE.rows, h.fragment(_table(), _foot()), _nothing()),
            skeleton_rows(5),
        ),
        _question(
            "redrive",
            "Redrive all of them?",
            "Each is sent again, as a new message.",
            "Redrive all",
        ),
        _question(
            "discard",
            "Discard the chosen ones?",
            "They leave this list; the messages stay failed.",
            "Discard",
        ),
        _question(
            "discard-all",
            "Discard all of them?",
            "They leave this list; the messages stay failed.",
            "Discard",
        ),
        active="Dead letters",
        full=True,
    )


def _question(name: str, title: str, sentence: str, verb: str) -> rx.Component:
    handlers = {
        "redrive": _STATE.redrive_all,
        "discard": _STATE.discard_chosen,
        "discard-all": _STATE.discard_all,
    }
    return confirm(
        is_open=_STATE.question == name,
        title=title,
        sentence=h.join(sentence, h.pick(_STATE.filters, " Only those that match the filter.", "")),
        verb=verb,
        on_confirm=handlers[name],
        on_change=_STATE.close,
    )


def _head() -> rx.Component:
    some = h.fragment(
        h.span(_STATE.chosen.length(), " chosen", class_name="muted num hide-s"),  # type: ignore[attr-defined]
        button("Discard", look="ghost", on_click=_STATE.ask("discard")),
        busy_button(
            "Redrive", busy=_STATE.is_busy, icon="rotate_ccw", on_click=_STATE.redrive_chosen
        ),
    )
    everything = h.when(
        _STATE.rows,
        h.fragment(
            button("Discard all", look="ghost", on_click=_STATE.ask("discard-all")),
            busy_button(
                "Redrive all",
                busy=_STATE.is_busy,
                icon="rotate_ccw",
                on_click=_STATE.ask("redrive"),
            ),
        ),
    )
    count = h.span(
        h.when(_STATE.progress, _STATE.progress, _STATE.total), class_name="muted num hide-s"
    )
    return h.div(
        h.h1("Dead letters"),
        h.when(_STATE.is_loaded, count),
        h.span(class_name="grow"),
        h.when(_STATE.chosen, some, everything),
        class_name="mhead",
    )


def _filters() -> rx.Component:
    codes = [_choice("code", code, name) for code, name in CODES.items()]
    return h.div(
        _chip("code", "Reason", *codes),
        _chip("connector", "Connector", h.each(_STATE.connector_choices, _of_connector)),
        class_name="bar-filters",
    )


def _of_connector(choice: Choice) -> rx.Component:
    return _choice("connector", choice.value, choice.name)


def _choice(name: str, value: Any, text: Any) -> rx.Component:
    return menu_item(
        text, tick=_STATE.filters.get(name, "") == value, on_select=_STATE.filter_by(name, value)
    )


def _chip(name: str, title: str, *choices: rx.Component) -> rx.Component:
    value = _STATE.shown_filters.get(name, "")
    unset = menu(
        h.button(h.icon("plus", 12), title, type="button", class_name="chip"),
        *choices,
        align="start",
    )
    clear = h.button(
        h.icon("x", 12),
        type="button",
        aria_label=f"Clear {title}",
        on_click=_STATE.filter_by(name, ""),
    )
    chosen = menu(h.button(title, ": ", h.tag("b", value), type="button"), *choices, align="start")
    return h.when(value, h.span(chosen, clear, class_name="chip set"), unset)


def _table() -> rx.Component:
    widths = ("44px", "196px", "", "188px", "124px", "56px")
    columns = [h.col(style={"width": width}) if width else h.col() for width in widths]
    box = _box(
        _STATE.chosen.length() == _STATE.rows.length(),  # type: ignore[attr-defined]
        "Choose all on this page",
        _STATE.choose_page,
    )
    head = h.tr(
        h.th(box),
        h.th("Recipient"),
        h.th("Reason"),
        h.th("Connector"),
        h.th("Given up", class_name="right"),
        h.th(),
    )
    return h.table(
        h.colgroup(*columns),
        h.thead(head),
        h.tbody(h.each(_STATE.rows, _row)),
        class_name="cards",
        id="dead-letters",
    )


def _box(is_on: Any, label: Any, on_change: Any) -> rx.Component:
    return h.input_(
        type="checkbox", class_name="check", checked=is_on, aria_label=label, on_change=on_change
    )


def _row(row: Row) -> rx.Component:
    is_chosen = _STATE.chosen.contains(row.id)  # type: ignore[attr-defined]
    box = _box(is_chosen, h.join("Choose ", row.address), _STATE.choose(row.id))
    reason = h.fragment(
        h.span(row.code, class_name="med"), h.span(" ", row.reason, class_name="muted")
    )
    more = more_menu(
        menu_item("Redrive", "rotate_ccw", on_select=_STATE.redrive_one(row.id)),
        menu_item("Discard", "trash_2", danger=True, on_select=_STATE.discard_one(row.id)),
        menu_item(
            "Open message", "message_square", on_select=open_page(h.join("/messages?id=", row.id))
        ),
    )
    return h.tr(
        h.td(box, class_name="drop"),
        h.td(row.address, class_name="num"),
        h.td(reason, class_name="sub2", title=row.reason),
        h.td(
            h.span(
                provider_icon(row.kind), h.span(row.connector, class_name="ell"), class_name="row"
            ),
            class_name="drop",
        ),
        h.td(h.time(row.at, "ago"), class_name="right muted drop"),
        h.td(more, class_name="right end"),
        key=row.id,
    )


def _foot() -> rx.Component:
    older = h.when(
        _STATE.older,
        h.link("Older", h.icon("chevron_right", 14), to=_STATE.older, class_name="btn sec sm"),
    )
    newest = h.when(_STATE.is_first_page, None, link_button("Newest", to=PATH, size="sm"))
    return h.div(
        h.span(_STATE.total, class_name="num"),
        h.span(class_name="grow"),
        newest,
        older,
        class_name="foot-pag",
    )


def _nothing() -> rx.Component:
    none = empty(
        "No dead letters",
        "Messages given up after their retries appear here. There are none.",
        link_button("Open Messages", to="/messages"),
    )
    filtered = empty("Nothing matches", "Clear the filters.", link_button("Clear filters", to=PATH))
    return h.div(h.when(_STATE.filters, filtered, none), style={"padding": "48px 0"})


def register(app: rx.App) -> None:
    app.add_page(page, route=PATH, title="Dead letters · MessageJS", on_load=DeadLettersState.load)
