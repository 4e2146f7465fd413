"""How Settings looks: the project, its people, you and your log-ins."""

from __future__ import annotations

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    busy_button,
    button,
    card,
    copy_button,
    field,
    page_title,
    skeleton_rows,
    text_input,
)
from messagejs_app.components.entrance import no_mail
from messagejs_app.events import color_mode, sign_out
from messagejs_app.layout import frame
from messagejs_app.pages.settings.logins import LoginsState, logins
from messagejs_app.pages.settings.password import password
from messagejs_app.pages.settings.people_state import PeopleState
from messagejs_app.pages.settings.people_view import people
from messagejs_app.pages.settings.quiet_hours import QuietHoursState, quiet_hours
from messagejs_app.pages.settings.retention import RetentionState, retention
from messagejs_app.pages.settings.state import SettingsState


def page() -> rx.Component:
    return frame(
        page_title("Settings"),
        h.div(
            h.when(SettingsState.mail_enabled, None, no_mail()),
            card(h.when(SettingsState.is_ready, _project(), skeleton_rows(2)), title="Project"),
            people(),
            quiet_hours(),
            retention(),
            card(_you(), title="You"),
            password(),
            logins(),
            class_name="stack",
            style={"maxWidth": "720px"},
        ),
        active="Settings",
    )


def _project() -> rx.Component:
    name = field(
        "Name",
        text_input(
            "name", default_value=SettingsState.project_name, key=SettingsState.project_name
        ),
        error=SettingsState.error,
    )
    project_id = h.div(
        h.span(SettingsState.project_id, class_name="mono ell grow"),
        copy_button(SettingsState.project_id, text=None),
        class_name="input ro has-btn",
    )
    save = busy_button("Save", busy=SettingsState.is_saving, type="submit", data_submit="")
    return h.form(
        h.div(
            name,
            h.div(h.span("Id", class_name="label"), project_id, class_name="field"),
            class_name="cb stack",
        ),
        h.div(h.span(class_name="grow"), save, class_name="cfoot"),
        on_submit=SettingsState.rename,
        reset_on_submit=False,
    )


def _you() -> rx.Component:
    looks = h.div(
        _look("system", "System"),
        _look("light", "Light"),
        _look("dark", "Dark"),
        class_name="seg sm",
    )
    who = h.div(
        h.div(SettingsState.user_name, class_name="med ell"),
        h.div(SettingsState.user_email, class_name="muted ell"),
        class_name="grow",
        style={"minWidth": 0},
    )
    leave = button(h.icon("log_out"), "Sign out", on_click=sign_out())
    ask = button("Send a link", size="sm", on_click=SettingsState.send_confirmation)
    unconfirmed = h.div(
        h.span("Your e-mail address is not confirmed.", class_name="muted"),
        h.span(class_name="grow"),
        ask,
        class_name="row",
    )
    return h.div(
        h.div(who, leave, class_name="row"),
        h.when(SettingsState.is_confirmed, None, unconfirmed),
        h.div(
            h.span("Appearance", class_name="med"),
            h.span(class_name="grow"),
            looks,
            class_name="row",
        ),
        class_name="cb stack",
    )


def _look(value: str, name: str) -> rx.Component:
    is_on = rx.color_mode == value
    return h.button(
        name,
        type="button",
        class_name=h.pick(is_on, "on", ""),
        aria_pressed=h.pick(is_on, "true", "false"),
        on_click=color_mode(value),
    )


def register(app: rx.App) -> None:
    load = [
        SettingsState.load,
        PeopleState.load,
        QuietHoursState.load,
        RetentionState.load,
        LoginsState.load,
    ]
    app.add_page(page, route="/settings", title="Settings · MessageJS", on_load=load)
