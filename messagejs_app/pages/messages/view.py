"""How the list looks: filters, rows, and what stands there without messages."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    Choice,
    button,
    empty,
    link_button,
    provider_icon,
    skeleton_rows,
    status,
)
from messagejs_app.components.overlays import menu, menu_item
from messagejs_app.layout import frame
from messagejs_app.pages.messages.drawer import drawer
from messagejs_app.pages.messages.rows import MessageRow
from messagejs_app.pages.messages.state import STATUSES, TIMES, MessagesState


def page() -> rx.Component:
    return frame(
        _head(),
        _filters(),
        h.when(
            MessagesState.is_loaded,
            h.when(MessagesState.rows, h.fragment(_table(), _foot()), _nothing()),
            skeleton_rows(5),
        ),
        h.when(MessagesState.message.id != "", drawer()),
        active="Messages",
        full=True,
    )


def _head() -> rx.Component:
    live = h.when(
        MessagesState.is_live,
        status("Live", "healthy", class_name="med"),
        status("Paused", "off ring", class_name="med"),
    )
    toggle = button(
        h.when(MessagesState.is_live, h.icon("pause"), h.icon("play")),
        h.when(MessagesState.is_live, "Pause", "Resume"),
        look="ghost",
        on_click=MessagesState.toggle_live,
        data_live="",
    )
    count = h.span(MessagesState.total, class_name="muted num hide-s")
    return h.div(
        h.h1("Messages"),
        live,
        h.when(MessagesState.is_loaded, count),
        h.span(class_name="grow"),
        toggle,
        class_name="mhead",
    )


def _filters() -> rx.Component:
    search = h.form(
        h.div(
            h.icon("search", 14),
            h.input_(
                name="q",
                placeholder="Recipient or message id",
                default_value=MessagesState.filters.get("q", ""),
                key=MessagesState.filters.get("q", ""),
                auto_complete="off",
                aria_label="Recipient or message id",
                data_filter="",
            ),
            h.keys("/"),
            class_name="input",
        ),
        on_submit=MessagesState.search,
    )
    statuses = [_choice("status", value, value.capitalize()) for value in STATUSES]
    times = [_choice("time", value, name) for value, name in TIMES.items()]
    return h.div(
        search,
        _chip("status", "Status", *statuses),
        _chip(
            "connector",
            "Connector",
            h.each(MessagesState.connector_choices, _choice_of("connector")),
        ),
        _chip(
            "template", "Template", h.each(MessagesState.template_choices, _choice_of("template"))
        ),
        _chip("key", "Key", h.each(MessagesState.key_choices, _choice_of("key"))),
        _chip("time", "Time", *times),
        h.when(MessagesState.filters.get("campaign", ""), _of_campaign()),
        h.when(
            MessagesState.filters,
            button("Clear filters", look="ghost", size="sm", on_click=MessagesState.clear),
        ),
        class_name="bar-filters",
    )


def _choice(name: str, value: Any, text: Any) -> rx.Component:
    return menu_item(
        text,
        tick=MessagesState.filters.get(name, "") == value,
        on_select=MessagesState.choose(name, value),
    )


def _choice_of(name: str) -> Any:
    def draw(choice: Choice) -> rx.Component:
        return _choice(name, choice.value, choice.name)

    return draw


def _chip(name: str, title: str, *choices: rx.Component) -> rx.Component:
    value = MessagesState.shown_filters.get(name, "")
    unset = menu(
        h.button(h.icon("plus", 12), title, type="button", class_name="chip"),
        *choices,
        align="start",
    )
    is_set = h.span(
        menu(h.button(title, ": ", h.tag("b", value), type="button"), *choices, align="start"),
        h.button(
            h.icon("x", 12),
            type="button",
            aria_label=f"Clear {title}",
            on_click=MessagesState.choose(name, "") if name != "time" else MessagesState.clear_time,
        ),
        class_name="chip set",
    )
    return h.when(value, is_set, unset)


def _of_campaign() -> rx.Component:
    """Only a campaign's page sets it."""
    clear = h.button(
        h.icon("x", 12),
        type="button",
        aria_label="Clear Campaign",
        on_click=MessagesState.choose("campaign", ""),
    )
    return h.span(h.span("Campaign"), clear, class_name="chip set")


def _table() -> rx.Component:
    widths = ("148px", "196px", "", "188px", "140px", "124px")
    columns = [h.col(style={"width": width}) if width else h.col() for width in widths]
    titles = ("Status", "Recipient", "Message", "Connector", "Key")
    head = h.tr(*[h.th(title) for title in titles], h.th("Accepted", class_name="right"))
    return h.table(
        h.colgroup(*columns),
        h.thead(head),
        h.tbody(h.each(MessagesState.rows, _row)),
        class_name="msgs",
        id="messages",
    )


def _row(row: MessageRow) -> rx.Component:
    cover = h.link(
        to=h.join("/messages?", MessagesState.query_of_list, "id=", row.id),
        class_name="cover",
        aria_label=h.join(row.status, " to ", row.address),
    )
    connector = h.span(
        provider_icon(row.kind), h.span(row.connector, class_name="ell"), class_name="row"
    )
    body = h.fragment(
        h.when(row.name, h.span(row.name)),
        h.span(row.text, class_name=h.pick(row.name, "pre", "muted")),
    )
    return h.tr(
        h.td(cover, status(row.status, row.dot), class_name="c-st"),
        h.td(row.address, class_name="c-to num"),
        h.td(body, class_name="c-body"),
        h.td(connector, class_name="c-conn"),
        h.td(row.key, class_name="c-key muted"),
        h.td(h.time(row.at), class_name="c-time right muted"),
        class_name=h.join(
            "link-row",
            h.pick(row.id == MessagesState.open_id, " sel", ""),
            h.pick(row.is_new, " new", ""),
        ),
        key=row.id,
    )


def _foot() -> rx.Component:
    hint = h.span(
        h.keys("J"),
        h.keys("K"),
        "move",
        h.keys("Enter"),
        "open",
        class_name="hide-s row small",
        id="row-keys",
    )
    older = h.when(
        MessagesState.older,
        h.link(
            "Older", h.icon("chevron_right", 14), to=MessagesState.older, class_name="btn sec sm"
        ),
    )
    newest = h.when(
        MessagesState.is_first_page,
        None,
        button("Newest", size="sm", on_click=MessagesState.choose("before", "")),
    )
    return h.div(
        h.span(MessagesState.extent, class_name="num"),
        h.span(class_name="grow"),
        hint,
        newest,
        older,
        class_name="foot-pag",
    )


def _nothing() -> rx.Component:
    none = empty(
        "No messages yet",
        "Send one from the Playground or your own page.",
        link_button("Open Playground", to="/playground", look="pri"),
    )
    filtered = empty(
        "Nothing matches",
        "Widen the time or clear the filters.",
        button("Clear filters", on_click=MessagesState.clear),
    )
    return h.div(h.when(MessagesState.filters, filtered, none), style={"padding": "48px 0"})


def register(app: rx.App) -> None:
    app.add_page(page, route="/messages", title="Messages · MessageJS", on_load=MessagesState.load)
