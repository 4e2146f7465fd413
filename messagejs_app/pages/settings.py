"""Settings: the project's name, how the dashboard looks, and the way out."""

from __future__ import annotations

from typing import Any

import reflex as rx

from backend.services.accounts import projects
from backend.services.accounts.access import Action
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
from messagejs_app.events import Events, Steps, color_mode, event, say
from messagejs_app.layout import frame, sign_out
from messagejs_app.session import Session

_NAME_LIMIT = 255


class SettingsState(Session):
    error: str = ""
    is_saving: bool = False

    @event
    async def load(self) -> Events:
        await self._enter()
        self.error = ""
        return None

    @event
    async def rename(self, data: dict[str, Any]) -> Steps:
        name = str(data.get("name") or "").strip()
        if not name or len(name) > _NAME_LIMIT:
            self.error = f"A project needs a name of 1 to {_NAME_LIMIT} characters."
            return
        self.error, self.is_saving = "", True
        yield None
        try:
            async with self._desk(Action.UPDATE_PROJECT) as desk:
                await projects.update_project(desk.session, desk.principal, desk.project_id, {"name": name})
        finally:
            self.is_saving = False
        await self._enter()
        yield say(f"The project is called {name} now.")


def page() -> rx.Component:
    return frame(
        page_title("Settings"),
        h.div(
            card(h.when(SettingsState.is_ready, _project(), skeleton_rows(2)), title="Project"),
            card(_you(), title="You"),
            class_name="stack",
            style={"maxWidth": "640px"},
        ),
        active="Settings",
    )


def _project() -> rx.Component:
    name = field(
        "Name",
        text_input("name", default_value=SettingsState.project_name, key=SettingsState.project_name),
        error=SettingsState.error,
    )
    project_id = h.div(
        h.span(SettingsState.project_id, class_name="mono ell grow"),
        copy_button(SettingsState.project_id, text=None),
        class_name="input ro has-btn",
    )
    save = busy_button("Save", busy=SettingsState.is_saving, type="submit", data_submit="")
    return h.form(
        h.div(name, h.div(h.span("Id", class_name="label"), project_id, class_name="field"), class_name="cb stack"),
        h.div(h.span(class_name="grow"), save, class_name="cfoot"),
        on_submit=SettingsState.rename,
        reset_on_submit=False,
    )


def _you() -> rx.Component:
    looks = h.div(_look("system", "System"), _look("light", "Light"), _look("dark", "Dark"), class_name="seg sm")
    who = h.div(h.div(SettingsState.user_name, class_name="med"), h.div(SettingsState.user_email, class_name="muted"))
    leave = button(h.icon("log_out"), "Sign out", on_click=sign_out())
    return h.div(
        h.div(who, h.span(class_name="grow"), leave, class_name="row"),
        h.div(h.span("Appearance", class_name="med"), h.span(class_name="grow"), looks, class_name="row"),
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
    app.add_page(page, route="/settings", title="Settings · MessageJS", on_load=SettingsState.load)
