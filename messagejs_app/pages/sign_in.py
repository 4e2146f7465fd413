"""Log in and register: native forms that post to /auth, so that the cookie is set by the server."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.brand import mark
from messagejs_app.components.controls import button, field
from messagejs_app.components.html import Child
from messagejs_app.events import Events, event

# What the server's error codes mean here, and which field they belong to.
_PROBLEMS: Final = {
    "INVALID_CREDENTIALS": ("password", "E-mail and password do not match an account."),
    "EMAIL_TAKEN": ("email", "An account with this e-mail exists. Sign in instead."),
    "INVALID_EMAIL": ("email", "That is not an e-mail address; write it like ada@example.com."),
    "WEAK_PASSWORD": ("password", "Use at least 8 characters."),
    "RATE_LIMIT_EXCEEDED": ("password", "Too many attempts. Wait 15 minutes, then try again."),
    "REGISTRATION_CLOSED": ("", "Registration is closed on this server. Ask its administrator for an account."),
    "SERVICE_UNAVAILABLE": ("", "The server cannot reach its database. Try again in a moment."),
}


class SignIn(rx.State):
    """What came back with the address: the error, the e-mail typed before, and where to go afterwards."""

    email: str = ""
    name: str = ""
    next_path: str = "/"
    # Written by dashboard.js.
    origin: str = rx.LocalStorage("", name="mjs_origin")
    host: str = ""
    errors: dict[str, str] = {}

    @event
    async def load(self) -> Events:
        query = self.router.url.query_parameters
        self.host = urlsplit(self.origin).netloc
        self.email = query.get("email", "")[:254]
        self.name = query.get("name", "")[:255]
        self.next_path = same_site(query.get("next", "/"))
        code = query.get("error", "")
        where, sentence = _PROBLEMS.get(code, (query.get("field", ""), query.get("message", "")[:200]))
        if code and not sentence:
            sentence = "That did not work. Check the fields and try again."
        self.errors = {where if where in {"email", "password", "name"} else "": sentence} if code else {}
        return None


def same_site(path: str) -> str:
    """Return `path` when it is a path of ours, else "/": an address must not send people elsewhere."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not urlsplit(path).netloc
    return path if is_ours else "/"


def _frame(form: rx.Component) -> rx.Component:
    foot = h.tag(
        "footer",
        h.span(f"MessageJS {version('messagejs')}"),
        h.external("API reference", href="/docs"),
        h.external("Server status", href="/readyz"),
    )
    return h.main(form, foot, class_name="login")


def _head(title: str, sub: Child) -> rx.Component:
    words = h.div(h.h1(title), h.div(sub, class_name="sub"), style={"textAlign": "center"})
    style = {"display": "flex", "flexDirection": "column", "alignItems": "center", "gap": "16px", "marginBottom": "8px"}
    return h.div(mark(32), words, style=style)


def _problem() -> rx.Component:
    sentence = h.span(SignIn.errors[""], class_name="grow")
    box = h.div(h.icon("triangle_alert", 14), sentence, class_name="note bad", role="alert")
    return h.when(SignIn.errors[""], box)


def _input(name: str, **props: Any) -> rx.Component:
    return h.input_(id=name, name=name, class_name="input lg", required=True, **props)


def _email() -> rx.Component:
    control = _input(
        "email", type="email", default_value=SignIn.email, auto_complete="username", auto_focus=True, key=SignIn.email
    )
    return field("E-mail", control, error=SignIn.errors["email"])


def _password(hint: Child, **props: Any) -> rx.Component:
    eye = button(
        h.icon("eye_off"),
        look="ghost",
        size="icon",
        data_reveal="",
        aria_label="Show the password",
        aria_pressed="false",
    )
    box = h.div(
        h.input_(id="password", name="password", type="password", required=True, **props), eye, class_name="input lg pw"
    )
    return field("Password", box, hint=hint, error=SignIn.errors["password"], control_id="password")


def login() -> rx.Component:
    other = h.div("New here? ", h.link("Create an account", to="/register", class_name="link"), class_name="muted")
    form = h.native_form(
        _head("Sign in to MessageJS", SignIn.host),
        _problem(),
        _email(),
        _password(None, auto_complete="current-password"),
        h.input_(type="hidden", name="next", value=SignIn.next_path, read_only=True),
        button("Sign in", look="pri", size="lg", type="submit", style={"marginTop": "4px"}),
        h.div(other, style={"textAlign": "center"}),
        action="/auth/login",
    )
    return _frame(form)


def create_account() -> rx.Component:
    other = h.div("Have an account? ", h.link("Sign in", to="/login", class_name="link"), class_name="muted")
    name = _input("name", default_value=SignIn.name, auto_complete="name", key=SignIn.name, placeholder="Ada Lovelace")
    form = h.native_form(
        _head("Create your account", "A project with a Sandbox is made for you."),
        _problem(),
        field("Name", name, error=SignIn.errors["name"]),
        _email(),
        _password("At least 8 characters.", auto_complete="new-password", min_length=8),
        h.input_(type="hidden", name="next", value=SignIn.next_path, read_only=True),
        button("Create account", look="pri", size="lg", type="submit", style={"marginTop": "4px"}),
        h.div(other, style={"textAlign": "center"}),
        action="/auth/register",
    )
    return _frame(form)


def register(app: rx.App) -> None:
    app.add_page(login, route="/login", title="Sign in · MessageJS", on_load=SignIn.load)
    app.add_page(create_account, route="/register", title="Create account · MessageJS", on_load=SignIn.load)
