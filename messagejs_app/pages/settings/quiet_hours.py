"""When the project does not send."""

from __future__ import annotations

from typing import Any

import reflex as rx

from backend.errors import ValidationFailed
from backend.services.access.access import Action
from backend.services.accounts import projects
from backend.services.accounts.quiet_hours import check_quiet_hours
from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    busy_button,
    card,
    field,
    segment,
    skeleton_rows,
    text_input,
)
from messagejs_app.events import Events, Steps, event, say
from messagejs_app.session import Session, field_errors

_USUAL = {"start": "21:00", "end": "08:00", "timezone": None}


class QuietHoursState(Session):
    is_on: bool = False
    start: str = ""
    end: str = ""
    timezone: str = ""
    errors: dict[str, str] = {}
    is_loaded: bool = False
    is_saving: bool = False

    @event
    async def load(self) -> Events:
        async with self._work(Action.VIEW_PROJECT) as work:
            project = await projects.get_project(work.session, work.access)
        shown = project.quiet_hours or _USUAL
        self._put(
            is_on=project.quiet_hours is not None,
            start=shown["start"],
            end=shown["end"],
            timezone=shown["timezone"] or "",
            errors={},
            is_loaded=True,
        )
        return None

    @event
    async def switch(self, value: str) -> Events:
        self.is_on = value == "on"
        return None

    @event
    async def save(self, data: dict[str, Any]) -> Steps:
        self.errors, self.is_saving = {}, True
        yield None
        expected = {name: str(data.get(name) or "").strip() for name in _USUAL}
        try:
            hours = (
                check_quiet_hours({**expected, "timezone": expected["timezone"] or None})
                if self.is_on
                else None
            )
            async with self._work(Action.UPDATE_PROJECT) as work:
                changes = {"quiet_hours": hours}
                await projects.update_project(work.session, work.access, changes)
        except ValidationFailed as exc:
            self.errors = field_errors(exc)
            return
        finally:
            self.is_saving = False
        yield [QuietHoursState.load(), say("Saved. It holds for what is sent from now on.")]


def quiet_hours() -> rx.Component:
    return card(h.when(QuietHoursState.is_loaded, _form(), skeleton_rows(2)), title="Quiet hours")


def _form() -> rx.Component:
    state = QuietHoursState
    choice = segment(
        ("off", "Never"),
        ("on", "Every day"),
        value=h.pick(state.is_on, "on", "off"),
        on_pick=state.switch,
        label="Quiet hours",
    )
    start = field(
        "From",
        text_input("start", type="time", default_value=state.start),
        error=state.errors["start"],
    )
    end = field(
        "Until", text_input("end", type="time", default_value=state.end), error=state.errors["end"]
    )
    zone = field(
        "Time zone",
        text_input("timezone", default_value=state.timezone, placeholder="UTC"),
        optional="Of recipients whose own is not known",
        hint=(
            "An IANA name such as Europe/Berlin. The send's own time zone, or that of the phone"
            " number, goes first."
        ),
        error=state.errors["timezone"],
    )
    reported = h.span(
        "Messages wait for the end, on the recipient’s clock. Those of high priority, such as"
        " one-time codes, do not.",
        class_name="muted small",
    )
    asked = h.when(state.is_on, h.fragment(h.div(start, end, class_name="grid2"), zone))
    save = busy_button("Save", busy=state.is_saving, type="submit", data_submit="")
    return h.form(
        h.div(h.div(choice, class_name="row"), reported, asked, class_name="cb stack"),
        h.div(h.span(class_name="grow"), save, class_name="cfoot"),
        on_submit=state.save,
        no_validate=True,
        reset_on_submit=False,
        key=h.join(state.project_id, state.start, state.end, state.timezone),
    )
