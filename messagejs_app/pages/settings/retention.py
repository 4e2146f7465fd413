"""How long the project keeps what it sends: content, and messages as a whole."""

from __future__ import annotations

from typing import Any, Final

import reflex as rx

from backend.errors import ValidationFailed
from backend.integers import whole_number
from backend.services.access.access import Action
from backend.services.accounts import projects
from messagejs_app.components import html as h
from messagejs_app.components.controls import busy_button, card, field, skeleton_rows, text_input
from messagejs_app.events import Events, Steps, event, say
from messagejs_app.session import Session, field_errors
from messagejs_app.wording import plural

_MOST_DAYS: Final = 3650
_CHOICES: Final = (
    ("keep", "Keep it"),
    ("days", "Remove it after some days"),
    ("mask", "Mask it: the template stays, its values go"),
    ("nothing", "Remove it as soon as the message has ended"),
)


class RetentionState(Session):
    content: str = ""
    content_days: str = ""
    message_days: str = ""
    # What holds where the project says nothing.
    content_default: str = ""
    message_default: str = ""
    errors: dict[str, str] = {}
    is_loaded: bool = False
    is_saving: bool = False

    @event
    async def load(self) -> Events:
        async with self._work(Action.VIEW_PROJECT) as work:
            project = await projects.get_project(work.session, work.access)
            settings = work.platform.settings
        self.errors = {}
        self._put(
            content=project.content_retention or "",
            content_days=_text(project.content_retention_days),
            message_days=_text(project.retention_days),
            content_default=_kept(settings.content_days),
            message_default=_kept(settings.retention_days),
            is_loaded=True,
        )
        return None

    @event
    async def choose(self, content: str) -> Events:
        self.content = content
        return None

    @event
    async def save(self, data: dict[str, Any]) -> Steps:
        content = str(data.get("contentRetention") or "") or None
        errors: dict[str, str] = {}
        content_days = _days(data, "contentRetentionDays", 1, errors) if content == "days" else None
        changes = {
            "content_retention": content,
            "content_retention_days": content_days,
            "retention_days": _days(data, "retentionDays", 0, errors),
        }
        if errors:
            self.errors = errors
            return
        self.errors, self.is_saving = {}, True
        yield None
        try:
            async with self._work(Action.UPDATE_PROJECT) as work:
                await projects.update_project(work.session, work.access, changes)
        except ValidationFailed as exc:
            self.errors = field_errors(exc)
            return
        finally:
            self.is_saving = False
        yield [RetentionState.load(), say("Saved. What is due now goes within the next minutes.")]


def retention() -> rx.Component:
    return card(h.when(RetentionState.is_loaded, _form(), skeleton_rows(2)), title="Retention")


def _form() -> rx.Component:
    options = [h.option(text, value=value) for value, text in _CHOICES]
    select = h.select(
        h.option(h.join("As the server is set: ", RetentionState.content_default), value=""),
        *options,
        id="contentRetention",
        name="contentRetention",
        value=RetentionState.content,
        on_change=RetentionState.choose,
        class_name="input",
    )
    content = field(
        "Content",
        select,
        hint="Texts, metadata and recipients of finished messages. This can't be undone.",
    )
    content_days = field(
        "Remove content after",
        text_input(
            "contentRetentionDays", default_value=RetentionState.content_days, input_mode="numeric"
        ),
        hint="Days since the message was accepted.",
        error=RetentionState.errors["contentRetentionDays"],
    )
    message_days = field(
        "Remove messages after",
        text_input(
            "retentionDays",
            default_value=RetentionState.message_days,
            input_mode="numeric",
            placeholder=h.join("As the server is set: ", RetentionState.message_default),
        ),
        optional="Days",
        hint=(
            "0: never. Messages that wait stay until they have ended, and analytics keep their"
            " counts."
        ),
        error=RetentionState.errors["retentionDays"],
    )
    save = busy_button("Save", busy=RetentionState.is_saving, type="submit", data_submit="")
    asked = h.when(RetentionState.content == "days", content_days)
    return h.form(
        h.div(content, asked, message_days, class_name="cb stack"),
        h.div(h.span(class_name="grow"), save, class_name="cfoot"),
        on_submit=RetentionState.save,
        no_validate=True,
        reset_on_submit=False,
        key=h.join(
            RetentionState.project_id, RetentionState.content_days, "/", RetentionState.message_days
        ),
    )


def _text(days: int | None) -> str:
    return "" if days is None else str(days)


def _kept(days: int) -> str:
    return f"kept {plural(days, 'day')}" if days else "kept"


def _days(data: dict[str, Any], name: str, least: int, errors: dict[str, str]) -> int | None:
    """Return the number of days, None for an empty field; what is wrong goes into `errors`."""
    written = str(data.get(name) or "").strip()
    if not written and name == "retentionDays":
        return None
    days = whole_number(written)
    if days is None or not least <= days <= _MOST_DAYS:
        errors[name] = f"Write a number of days from {least} to {_MOST_DAYS}."
        return None
    return days
