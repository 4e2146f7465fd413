"""A new password for the user, who has to know the old one."""

from __future__ import annotations

from typing import Any

import reflex as rx

from backend.errors import InvalidCredentials, RateLimitExceeded, ValidationFailed
from backend.services.access.access import Action
from backend.services.accounts import recovery
from backend.services.accounts.passwords import MAX_CHARACTERS, MIN_CHARACTERS
from messagejs_app.components import html as h
from messagejs_app.components.controls import busy_button, card, field, text_input
from messagejs_app.events import Steps, event, say
from messagejs_app.pages.settings.logins import LoginsState
from messagejs_app.session import Session, field_errors


class PasswordState(Session):
    errors: dict[str, str] = {}
    is_saving: bool = False
    # The form's key: after a change there is an empty one.
    changes: int = 0

    @event
    async def change(self, data: dict[str, Any]) -> Steps:
        current, new = str(data.get("currentPassword") or ""), str(data.get("newPassword") or "")
        if not current:
            self.errors = {"currentPassword": "Type the password that you have now."}
            return
        if not MIN_CHARACTERS <= len(new) <= MAX_CHARACTERS:
            self.errors = {"newPassword": f"Use {MIN_CHARACTERS} to {MAX_CHARACTERS} characters."}
            return
        self.errors, self.is_saving = {}, True
        yield None
        try:
            async with self._work(Action.VIEW_PROJECT) as work:
                platform, me = work.platform, work.principal
            await recovery.change_password(
                platform.database, platform.redis, platform.settings, me, current=current, new=new
            )
        except InvalidCredentials:
            self.errors = {"currentPassword": "That is not your password."}
            return
        except RateLimitExceeded as exc:
            self.errors = {"currentPassword": exc.message}
            return
        except ValidationFailed as exc:
            self.errors = field_errors(exc)
            return
        finally:
            self.is_saving = False
        self.changes += 1
        yield [
            LoginsState.load(),
            say("Your password is changed. Every other log-in of yours has ended."),
        ]


def password() -> rx.Component:
    current = field(
        "Current password",
        text_input("currentPassword", type="password", auto_complete="current-password"),
        error=PasswordState.errors["currentPassword"],
    )
    new = field(
        "New password",
        text_input("newPassword", type="password", auto_complete="new-password"),
        hint=f"At least {MIN_CHARACTERS} characters. Every other log-in of yours ends.",
        error=PasswordState.errors["newPassword"],
    )
    save = busy_button(
        "Change password", busy=PasswordState.is_saving, look="sec", type="submit", data_submit=""
    )
    form = h.form(
        h.div(current, new, class_name="cb stack"),
        h.div(h.span(class_name="grow"), save, class_name="cfoot"),
        on_submit=PasswordState.change,
        reset_on_submit=False,
        key=PasswordState.changes,
    )
    return card(form, title="Password")
