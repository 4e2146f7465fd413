"""Log in and register: native forms that post to /auth, so that the cookie is set by the server."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import reflex as rx

from backend.platform import current_platform
from backend.services.accounts.passwords import MIN_CHARACTERS
from backend.services.keys.origins import origin_host
from messagejs_app.components import html as h
from messagejs_app.components.controls import button, field
from messagejs_app.components.entrance import (
    email_entry,
    entrance,
    entry,
    handed_on,
    heading,
    other_way,
    password_field,
    problem,
)
from messagejs_app.events import Events, event

# What the server's error codes mean here, and which field they belong to.
_PROBLEMS: Final = {
    "INVALID_CREDENTIALS": ("password", "E-mail and password do not match an account."),
    "COMMON_PASSWORD": ("password", "This password is one of the most used. Choose another."),
    "EMAIL_TAKEN": ("email", "An account with this e-mail exists. Sign in instead."),
    "INVALID_EMAIL": ("email", "That is not an e-mail address; write it like ada@example.com."),
    "RATE_LIMIT_EXCEEDED": ("password", "Too many attempts. Wait 15 minutes, then try again."),
    "REGISTRATION_CLOSED": (
        "",
        "Registration is closed on this server. Ask its administrator for an account.",
    ),
    # Only an invitation's token and address can be wrong in these two ways.
    "INVALID_LINK": (
        "",
        "The invitation is not valid, has been used or has expired. Ask for a new one.",
    ),
    "ACCESS_DENIED": ("email", "The invitation is for another e-mail address. Use that one."),
    "SERVICE_UNAVAILABLE": ("", "The server cannot reach its database. Try again in a moment."),
}


class SignIn(rx.State):
    """What came back with the address: the error, and an invitation.

    What was typed before, entrance.py keeps.
    """

    invitation: str = ""
    sign_in_path: str = "/login"
    # Written by dashboard.js.
    origin: str = rx.LocalStorage("", name="mjs_origin")
    host: str = ""
    errors: dict[str, str] = {}

    @event
    async def load(self) -> Events:
        query = self.router.url.query_parameters
        self.host = origin_host(self.origin) or ""
        self.invitation = query.get("invitation", "")[:255]
        self.sign_in_path = "/login"
        if self.invitation:  # with an account the invitation's own page is the way in
            page = f"/invitation?{urlencode({'token': self.invitation})}"
            self.sign_in_path = (
                f"/login?{urlencode({'next': page, 'email': query.get('email', '')[:254]})}"
            )
        code = query.get("error", "")
        where, sentence = _PROBLEMS.get(
            code, ("", "That did not work. Check the fields and try again.")
        )
        if code == "REGISTRATION_CLOSED" and current_platform().settings.registration == "invite":
            sentence = (
                "Registration on this server is by invitation. Ask a project’s owner for one."
            )
        self.errors = {where: sentence} if code else {}
        return None


def _email() -> rx.Component:
    return field("E-mail", email_entry(), error=SignIn.errors["email"])


def login() -> rx.Component:
    forgot = h.link(
        "Forgot password?",
        to="/forgot-password",
        class_name="link small",
        style={"fontWeight": 500},
    )
    form = h.native_form(
        heading("Sign in to MessageJS", SignIn.host),
        problem(SignIn.errors[""]),
        _email(),
        password_field(
            "Password",
            error=SignIn.errors["password"],
            aside=forgot,
            auto_complete="current-password",
        ),
        handed_on("next"),
        button("Sign in", look="pri", size="lg", type="submit", style={"marginTop": "4px"}),
        other_way("New here? ", "Create an account", "/register"),
        action="/auth/login",
    )
    return entrance(form)


def create_account() -> rx.Component:
    sub = h.pick(
        SignIn.invitation,
        "You join the project you are invited to.",
        "A project with a Sandbox is made for you.",
    )
    name = entry("name", auto_complete="name", placeholder="Ada Lovelace")
    hint = f"At least {MIN_CHARACTERS} characters."
    form = h.native_form(
        heading("Create your account", sub),
        problem(SignIn.errors[""]),
        field("Name", name, error=SignIn.errors["name"]),
        _email(),
        password_field(
            "Password",
            hint=hint,
            error=SignIn.errors["password"],
            auto_complete="new-password",
            min_length=MIN_CHARACTERS,
        ),
        handed_on("next"),
        handed_on("invitation"),
        button("Create account", look="pri", size="lg", type="submit", style={"marginTop": "4px"}),
        other_way("Have an account? ", "Sign in", SignIn.sign_in_path),
        action="/auth/register",
    )
    return entrance(form)


def register(app: rx.App) -> None:
    app.add_page(login, route="/login", title="Sign in · MessageJS", on_load=SignIn.load)
    app.add_page(
        create_account, route="/register", title="Create account · MessageJS", on_load=SignIn.load
    )
