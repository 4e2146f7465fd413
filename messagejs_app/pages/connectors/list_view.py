"""How the list and the gallery look."""

from __future__ import annotations

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    badge,
    card,
    page_title,
    provider_icon,
    skeleton_rows,
    status,
)
from messagejs_app.components.overlays import confirm, menu_item, menu_rule, more_menu
from messagejs_app.layout import frame
from messagejs_app.pages.connectors.list_state import (
    ConnectorRow,
    ConnectorsState,
    ProviderCard,
    Trouble,
)
from messagejs_app.pages.connectors.routes_state import RoutesState
from messagejs_app.pages.connectors.routes_view import routes


def page() -> rx.Component:
    add = h.external(
        h.icon("plus"),
        "Add connector",
        href="#add",
        class_name="btn pri",
        data_create="",
        id="add-connector",
    )
    return frame(
        page_title("Connectors", add),
        h.div(
            h.each(ConnectorsState.troubles, _trouble),
            h.when(ConnectorsState.is_loaded, _table(), card(skeleton_rows(3))),
            routes(),
            _gallery(),
            class_name="stack5",
        ),
        confirm(
            is_open=ConnectorsState.deleting != "",
            title=h.join("Delete ", ConnectorsState.deleting_name, "?"),
            sentence="Sends that name it are refused at once. Messages waiting for it will fail.",
            verb="Delete",
            on_confirm=ConnectorsState.delete,
            on_change=ConnectorsState.show_delete,
        ),
        active="Connectors",
    )


def _trouble(trouble: Trouble) -> rx.Component:
    words = h.span(
        h.span(trouble.name, " stopped at ", h.time(trouble.at, "short"), ".", class_name="med"),
        " ",
        trouble.reason,
        class_name="grow",
    )
    return h.div(
        h.icon("triangle_alert", 14),
        words,
        h.link(
            h.pick(trouble.heals, "Look at it", "Fix connector"),
            to=h.join("/connectors/", trouble.id),
            class_name="link",
        ),
        class_name=h.pick(trouble.heals, "note warn", "note bad"),
    )


def _table() -> rx.Component:
    widths = ("", "232px", "160px", "124px", "104px", "96px", "56px")
    columns = [h.col(style={"width": width}) if width else h.col() for width in widths]
    head = h.tr(
        h.th("Connector"),
        h.th("Sender"),
        h.th("Health"),
        h.th("Last success"),
        h.th("Errors, 24 h", class_name="right"),
        h.th("Sent, 24 h", class_name="right"),
        h.th(),
    )
    return card(
        h.table(
            h.colgroup(*columns),
            h.thead(head),
            h.tbody(h.each(ConnectorsState.rows, _row)),
            class_name="cards",
        )
    )


def _row(row: ConnectorRow) -> rx.Component:
    cover = h.link(to=h.join("/connectors/", row.id), class_name="cover", aria_label=row.name)
    name = h.span(
        provider_icon(row.kind),
        h.span(row.name, class_name="med ell"),
        h.when(row.is_default, badge("Default")),
        class_name="row",
    )
    health = h.when(
        ConnectorsState.testing == row.id,
        status("Testing", "sending halo"),
        status(row.health, row.dot),
    )
    never = h.span("—")
    pause = menu_item("Pause", "pause", on_select=ConnectorsState.set_active(row.id, False))
    resume = menu_item("Activate", "play", on_select=ConnectorsState.set_active(row.id, True))
    actions = more_menu(
        menu_item("Test", "zap", on_select=ConnectorsState.test(row.id)),
        h.when(row.is_active, pause, resume),
        h.when(
            row.is_default,
            None,
            menu_item("Make default", "star", on_select=ConnectorsState.make_default(row.id)),
        ),
        menu_rule(),
        menu_item(
            "Delete", "trash_2", danger=True, on_select=ConnectorsState.ask_delete(row.id, row.name)
        ),
    )
    return h.tr(
        h.td(cover, name),
        h.td(row.sender, class_name="muted drop"),
        h.td(health, class_name="sub2"),
        h.td(
            h.when(row.last_success, h.time(row.last_success, "ago"), never),
            class_name="muted drop",
        ),
        h.td(row.errors, class_name="right drop"),
        h.td(row.sent, class_name="right drop"),
        h.td(actions, class_name="right end"),
        class_name="link-row",
        key=row.id,
    )


def _gallery() -> rx.Component:
    head = h.div(
        h.h2("Add a connector", id="add"),
        h.span("Secrets are encrypted and never shown again.", class_name="muted small"),
        class_name="sect",
        style={"marginBottom": "12px"},
    )
    return h.section(
        head, h.div(h.each(ConnectorsState.providers, _provider), class_name="gallery")
    )


def _provider(provider: ProviderCard) -> rx.Component:
    at_right = h.when(
        provider.connected,
        status(provider.connected, provider.dot, class_name="small"),
        h.span("Connect", class_name="btn sec sm"),
    )
    return h.link(
        provider_icon(provider.kind, large=True),
        h.h3(provider.title),
        at_right,
        h.p(provider.summary),
        to=h.join("/connectors/new?type=", provider.kind),
        class_name="gcard",
        data_provider=provider.kind,
    )


def register(app: rx.App) -> None:
    load = [ConnectorsState.load, RoutesState.load]
    app.add_page(page, route="/connectors", title="Connectors · MessageJS", on_load=load)
