"""What mailed links lead to: a new password and a confirmed e-mail address.

For everybody, signed in or not.
"""

from __future__ import annotations

from typing import Any, Final

import reflex as rx
from pydantic import TypeAdapter, ValidationError

from backend.api.inputs.bodies import Email
from backend.errors import InvalidLink, RateLimitExceeded, ValidationFailed
from backend.platform import current_platform
from backend.services.accounts import recovery
from backend.services.accounts.passwords import MAX_CHARACTERS, MIN_CHARACTERS
from backend.services.limits.mails import count_mail
from messagejs_app.components import html as h
from messagejs_app.components.controls import busy_button, field
from messagejs_app.components.entrance import (
    email_entry,
    entrance,
    heading,
    no_mail,
    other_way,
    password_field,
    problem,
    sheet,
    success,
    way_on,
)
from messagejs_app.connection import address_behind
from messagejs_app.events import Events, Steps, event

NO_EMAIL: Final = "That is not an e-mail address; write it like ada@example.com."
_DEAD_LINK: Final = "The link is not valid, has been used or has expired."
_TOKEN_LIMIT: Final = 255
_address: TypeAdapter[str] = TypeAdapter(Email)


def email_of(text: str) -> str | None:
    """The address as it is stored; None where it is none."""
    try:
        return _address.validate_python(text)
    except ValidationError:
        return None


class Visit(rx.State, mixin=True):
    """What each of these pages has: nobody is asked who they are, only where from."""

    is_busy: bool = False
    is_done: bool = False
    errors: dict[str, str] = {}
    # The websocket that all this is for. A tab keeps its State; its next page load is another
    # visit.
    connection: str = ""

    @property
    def _client_address(self) -> str:
        """As the API reads it, for the limits and the audit log: X-Forwarded-For from trusted
        proxies only.
        """
        forwarded_for = self.router.headers.raw_headers.get("x-forwarded-for", "")
        return address_behind(self.router.session.client_ip, forwarded_for)

    @property
    def _token(self) -> str:
        return self.router.url.query_parameters.get("token", "")[:_TOKEN_LIMIT]

    def _begin(self) -> None:
        self.connection = self.router.session.session_id
        self.is_busy = self.is_done = False
        self.errors = {}

    def _begin_with_token(self) -> None:
        self._begin()
        if not self._token:
            self.errors = {"": _DEAD_LINK}


def _of_now(state: type[Any], stands: Any) -> Any:
    """What `stands` there, but nothing of an earlier visit: the form must stay as it is while
    somebody types.
    """
    return h.pick(state.connection == state.router.session.session_id, stands, False)


class Forgot(Visit, rx.State):
    email: str = ""
    mail_enabled: bool = True

    @event
    async def load(self) -> Events:
        self._begin()
        self.mail_enabled = current_platform().settings.mail_enabled
        return None

    @event
    async def ask(self, data: dict[str, Any]) -> Steps:
        email = email_of(str(data.get("email") or ""))
        if email is None:
            self.errors = {"email": NO_EMAIL}
            return
        self.errors, self.is_busy = {}, True
        yield None
        platform, address = current_platform(), self._client_address
        try:
            await count_mail(platform.redis, email=email, address=address)
            platform.mail.later(
                recovery.send_reset_link(
                    platform.database,
                    platform.mail,
                    platform.settings,
                    email=email,
                    address=address,
                )
            )
            self.email, self.is_done = email, True
        except RateLimitExceeded as exc:
            self.errors = {"email": exc.message}
        finally:
            self.is_busy = False


class Reset(Visit, rx.State):
    @event
    async def load(self) -> Events:
        self._begin_with_token()
        return None

    @event
    async def save(self, data: dict[str, Any]) -> Steps:
        password = str(data.get("password") or "")
        if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
            self.errors = {"password": f"Use {MIN_CHARACTERS} to {MAX_CHARACTERS} characters."}
            return
        self.errors, self.is_busy = {}, True
        yield None
        try:
            platform = current_platform()
            await recovery.reset_password(
                platform.database,
                platform.settings,
                token=self._token,
                password=password,
                address=self._client_address,
            )
            self.is_done = True
        except InvalidLink:
            self.errors = {"": _DEAD_LINK}
        except ValidationFailed as exc:
            self.errors = {"password": exc.message}
        finally:
            self.is_busy = False


class Confirm(Visit, rx.State):
    """By a button: the programs that open every link of a mail must not use it up."""

    email: str = ""

    @event
    async def load(self) -> Events:
        self._begin_with_token()
        return None

    @event
    async def confirm(self, _data: dict[str, Any]) -> Steps:
        self.errors, self.is_busy = {}, True
        yield None
        try:
            async with current_platform().database.transaction() as session:
                user = await recovery.confirm_email(
                    session, token=self._token, address=self._client_address
                )
                self.email = user.email
            self.is_done = True
        except InvalidLink:
            self.errors = {"": _DEAD_LINK}
        finally:
            self.is_busy = False


def forgot() -> rx.Component:
    form = h.form(
        field("E-mail", email_entry(), error=Forgot.errors["email"]),
        busy_button("Send a link", busy=Forgot.is_busy, type="submit", size="lg"),
        on_submit=Forgot.ask,
        reset_on_submit=False,
        no_validate=True,
    )
    # The same words for an unknown address: who asks learns nothing of other people's accounts.
    sent = h.fragment(
        success(
            "If ",
            h.span(Forgot.email, class_name="med"),
            " has an account, a link is on its way to it.",
        ),
        h.span(
            "The link is good once, for an hour. Look into the spam folder, then ask again.",
            class_name="muted",
        ),
    )
    logged = success(
        "If ",
        h.span(Forgot.email, class_name="med"),
        " has an account, a link is in the server’s log. Ask who runs the server for it; it is good"
        " once, for an hour.",
    )
    return entrance(
        sheet(
            heading("Forgot your password?", "Choose a new one by a link to your e-mail address."),
            h.when(Forgot.mail_enabled, None, no_mail()),
            h.when(
                _of_now(Forgot, Forgot.is_done), h.when(Forgot.mail_enabled, sent, logged), form
            ),
            other_way("", "Back to sign in", "/login"),
        )
    )


def reset() -> rx.Component:
    form = h.form(
        password_field(
            "New password",
            hint=f"At least {MIN_CHARACTERS} characters.",
            error=Reset.errors["password"],
            auto_complete="new-password",
            auto_focus=True,
        ),
        busy_button("Change password", busy=Reset.is_busy, type="submit", size="lg"),
        on_submit=Reset.save,
        reset_on_submit=False,
        no_validate=True,
    )
    done = h.fragment(
        success(
            "The password is changed, and every log-in of the account has ended. Sign in with the"
            " new one."
        ),
        way_on("Sign in", "/login"),
    )
    dead = h.fragment(problem(Reset.errors[""]), way_on("Ask for a new link", "/forgot-password"))
    return entrance(
        sheet(
            heading("Choose a new password", "It ends every log-in of your account."),
            h.when(
                _of_now(Reset, Reset.is_done),
                done,
                h.when(_of_now(Reset, Reset.errors[""]), dead, form),
            ),
        )
    )


def confirm() -> rx.Component:
    form = h.form(
        busy_button("Confirm e-mail address", busy=Confirm.is_busy, type="submit", size="lg"),
        on_submit=Confirm.confirm,
        reset_on_submit=False,
    )
    done = h.fragment(
        success(
            h.span(Confirm.email, class_name="med"), " is confirmed. There is nothing else to do."
        ),
        way_on("Open the dashboard", "/"),
    )
    again = h.span("Sign in and ask for another in Settings.", class_name="muted")
    dead = h.fragment(problem(Confirm.errors[""]), again, way_on("Open Settings", "/settings"))
    return entrance(
        sheet(
            heading("Confirm your e-mail address", "One press says that it is yours."),
            h.when(
                _of_now(Confirm, Confirm.is_done),
                done,
                h.when(_of_now(Confirm, Confirm.errors[""]), dead, form),
            ),
        )
    )


def register(app: rx.App) -> None:
    app.add_page(
        forgot, route="/forgot-password", title="Forgot password · MessageJS", on_load=Forgot.load
    )
    app.add_page(
        reset, route="/reset-password", title="New password · MessageJS", on_load=Reset.load
    )
    app.add_page(
        confirm, route="/confirm-email", title="Confirm e-mail · MessageJS", on_load=Confirm.load
    )
