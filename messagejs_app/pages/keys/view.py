"""How the keys look."""

from __future__ import annotations

import reflex as rx

from backend.services.keys.keys import SCOPES
from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    badge,
    busy_button,
    button,
    card,
    check,
    empty,
    field,
    note,
    page_title,
    segment,
    skeleton_rows,
    status,
    text_input,
)
from messagejs_app.components.overlays import confirm, dialog, menu_item, more_menu
from messagejs_app.layout import frame
from messagejs_app.pages.keys.state import KeysState, ListedKey

_CREATED = KeysState.created
# What most servers need.
_USUAL_SCOPES = frozenset({"messages:send", "messages:read"})


def page() -> rx.Component:
    create = button(
        h.icon("plus"),
        "Create key",
        look="pri",
        on_click=KeysState.show_create(True),
        data_create="",
    )
    nothing = card(
        empty(
            "No keys",
            "Publishable for pages, secret for servers.",
            button("Create key", on_click=KeysState.show_create(True)),
        )
    )
    about = note(
        "Publishable keys may be in a web page: they only send what a template’s access allows. "
        "Secret keys stay on your server."
    )
    return frame(
        page_title("Keys", create),
        h.div(
            h.when(
                KeysState.is_loaded,
                h.when(KeysState.rows, _table(), nothing),
                card(skeleton_rows(3)),
            ),
            about,
            class_name="stack",
        ),
        _create_dialog(),
        _made_dialog(),
        confirm(
            is_open=KeysState.revoking != "",
            title=h.join("Revoke ", KeysState.revoking_name, "?"),
            sentence="Pages and servers that use it stop sending at once.",
            verb="Revoke",
            on_confirm=KeysState.revoke,
            on_change=KeysState.show_revoke,
        ),
        active="Keys",
    )


def _table() -> rx.Component:
    widths = ("200px", "200px", "176px", "", "112px", "132px", "56px")
    columns = [h.col(style={"width": width}) if width else h.col() for width in widths]
    head = h.tr(
        h.th("Name"),
        h.th("Key"),
        h.th("Kind"),
        h.th("Scopes or origins"),
        h.th("Last used"),
        h.th("Expires"),
        h.th(),
    )
    return card(
        h.table(
            h.colgroup(*columns),
            h.thead(head),
            h.tbody(h.each(KeysState.rows, _row)),
            class_name="cards",
        )
    )


def _row(row: ListedKey) -> rx.Component:
    kind = h.span(
        h.span(row.kind, class_name=h.pick(row.kind == "Publishable", "badge acc", "badge")),
        h.when(row.mode == "Test", badge("Test")),
        class_name="row",
        style={"gap": "4px"},
    )
    soon = status(h.when(row.has_ended, "Ended", h.time(row.expires, "minute")), "throttled half")
    expires = h.when(
        row.expires,
        h.when(row.expires_soon, soon, h.time(row.expires, "date", class_name="muted")),
        h.span("Never", class_name="muted"),
    )
    never = h.span("Never")
    return h.tr(
        h.td(row.name, class_name="med"),
        h.td(row.hint, class_name="mono muted drop"),
        h.td(kind, class_name="sub2"),
        h.td(row.grants, class_name="muted mono drop"),
        h.td(h.when(row.last_used, h.time(row.last_used, "ago"), never), class_name="muted drop"),
        h.td(expires, class_name="drop"),
        h.td(
            more_menu(
                menu_item(
                    "Revoke", "ban", danger=True, on_select=KeysState.ask_revoke(row.id, row.name)
                )
            ),
            class_name="right end",
        ),
        key=row.id,
    )


def _create_dialog() -> rx.Component:
    whole = h.when(
        KeysState.errors[""], note(KeysState.errors[""], tone="bad", icon="triangle_alert")
    )
    name = field(
        "Name",
        text_input("name", placeholder="Booking server", auto_focus=True, max_length=255),
        error=KeysState.errors["name"],
    )
    body = h.div(
        whole,
        name,
        h.div(_kind(), _mode(), class_name="grid2"),
        h.when(KeysState.kind == "secret", _scopes(), _origins()),
        h.div(_limit(), _expires(), class_name="grid2"),
        class_name="db",
    )
    foot = h.div(
        button("Cancel", on_click=KeysState.show_create(False)),
        busy_button("Create key", busy=KeysState.is_saving, type="submit", data_submit=""),
        class_name="df",
    )
    return dialog(
        h.form(body, foot, on_submit=KeysState.create, reset_on_submit=False),
        is_open=KeysState.is_creating,
        title="Create key",
        on_change=KeysState.show_create,
    )


def _kind() -> rx.Component:
    kinds = (("secret", "Secret"), ("publishable", "Publishable"))
    hint = h.pick(
        KeysState.kind == "secret",
        "For a server. It may do what its scopes say.",
        "For a web page. It sends templates only, from the origins you name.",
    )
    return h.div(
        h.span("Kind", class_name="label"),
        segment(*kinds, value=KeysState.kind, on_pick=KeysState.choose_kind, label="Kind"),
        h.span(hint, class_name="hint"),
        class_name="field",
    )


def _mode() -> rx.Component:
    modes = (("live", "Live"), ("test", "Test"))
    hint = h.pick(
        KeysState.new_mode == "test", "Everything goes to Sandbox.", "Messages go out for real."
    )
    return h.div(
        h.span("Mode", class_name="label"),
        segment(*modes, value=KeysState.new_mode, on_pick=KeysState.choose_new_mode, label="Mode"),
        h.span(hint, class_name="hint"),
        class_name="field",
    )


def _scopes() -> rx.Component:
    scopes = [
        check(
            f"scope.{scope}",
            h.span(scope, class_name="mono"),
            default_checked=scope in _USUAL_SCOPES,
        )
        for scope in SCOPES
    ]
    error = KeysState.errors["scopes"]
    return h.div(
        h.span("Scopes", class_name="label"),
        h.div(*scopes, class_name="grid2", style={"gap": "8px 16px"}),
        h.when(error, h.span(error, class_name="hint bad", role="alert")),
        class_name="field",
    )


def _origins() -> rx.Component:
    area = h.textarea(
        id="allowedOrigins",
        name="allowedOrigins",
        placeholder="https://example.com",
        class_name="textarea plain mono",
        rows="2",
        spell_check=False,
    )
    hint = "One a line: scheme, host and port of the pages that use it."
    return field("Allowed origins", area, hint=hint, error=KeysState.errors["allowedOrigins"])


def _limit() -> rx.Component:
    return field(
        "Limit",
        text_input("rateLimit", placeholder="No limit of its own", input_mode="numeric"),
        error=KeysState.errors["rateLimit"],
        optional="messages an hour",
    )


def _expires() -> rx.Component:
    choices = (("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year"))
    options = [h.option(text, value=value) for value, text in choices]
    select = h.select(*options, id="expires", name="expires", class_name="input")
    return field("Expires", select, error=KeysState.errors["expiresAt"])


def _made_dialog() -> rx.Component:
    badges = h.span(_CREATED.name, badge(_CREATED.kind), badge(_CREATED.mode), class_name="label")
    copy = button(
        h.icon("copy"),
        h.icon("check"),
        "Copy",
        look="pri",
        data_copy=_CREATED.text,
        class_name="on-accent",
    )
    secret = h.div(
        h.span(_CREATED.text, class_name="mono grow wrap", id="new-key"), copy, class_name="secret"
    )
    warning = (
        "Do not put a secret key in a web page or a mobile app. Lost it? Revoke it and create"
        " another."
    )
    stored = h.label(
        h.input_(
            type="checkbox",
            class_name="check",
            checked=KeysState.has_stored,
            on_change=KeysState.store,
            id="has-stored",
        ),
        h.span("I have stored the key"),
        class_name="row grow",
    )
    body = h.div(
        h.div(badges, secret, class_name="field"),
        _facts(),
        h.when(_CREATED.kind == "Secret", note(warning, tone="warn", icon="triangle_alert")),
        class_name="db",
    )
    foot = h.div(
        stored,
        button("Done", disabled=~KeysState.has_stored, on_click=KeysState.done),
        class_name="df",
    )
    return dialog(
        body,
        foot,
        is_open=_CREATED.text != "",
        title="Copy your key now",
        sentence="This is the only time it is shown. We keep a fingerprint, not the key.",
    )


def _facts() -> rx.Component:
    return h.dl(
        h.dt("Scopes"),
        h.dd(_CREATED.scopes, class_name="mono wrap"),
        h.when(
            _CREATED.origins,
            h.fragment(h.dt("Origins"), h.dd(_CREATED.origins, class_name="mono wrap")),
        ),
        h.dt("Limit"),
        h.dd(_CREATED.limit),
        h.dt("Expires"),
        h.dd(h.when(_CREATED.expires, h.time(_CREATED.expires, "minute"), "Never")),
        class_name="kv",
        style={"gridTemplateColumns": "88px 1fr"},
    )


def register(app: rx.App) -> None:
    app.add_page(page, route="/keys", title="Keys · MessageJS", on_load=KeysState.load)
