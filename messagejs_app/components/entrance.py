"""Parts of the pages outside the frame: sign-in, registration, and the links sent by mail."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.brand import mark
from messagejs_app.components.controls import button, field, link_button, note
from messagejs_app.components.html import Child

NO_MAIL: Final = "Mail is not set: links are printed to the server’s log. Set PLATFORM_SMTP_URL."


def entrance(*children: Child) -> rx.Component:
    """The whole page: one narrow column, and a footer."""
    foot = h.tag(
        "footer",
        h.span(f"MessageJS {version('messagejs')}"),
        h.external("API reference", href="/docs"),
        h.external("Server status", href="/readyz"),
    )
    return h.main(*children, foot, class_name="login")


def sheet(*children: Child) -> rx.Component:
    """The column of a page that is more, or less, than one form."""
    return h.div(*children, class_name="sheet")


def heading(title: Child, sub: Child) -> rx.Component:
    words = h.div(h.h1(title), h.div(sub, class_name="sub"), style={"textAlign": "center"})
    style = {
        "display": "flex",
        "flexDirection": "column",
        "alignItems": "center",
        "gap": "16px",
        "marginBottom": "8px",
    }
    return h.div(mark(32), words, style=style)


def problem(sentence: Any, *action: Child) -> rx.Component:
    """An error that isn't about one field; nothing where there is no sentence."""
    words = h.span(sentence, class_name="grow")
    return h.when(
        sentence,
        h.div(h.icon("triangle_alert", 14), words, *action, class_name="note bad", role="alert"),
    )


def success(*words: Child) -> rx.Component:
    return h.div(
        h.icon("check", 14), h.span(*words, class_name="grow"), class_name="note ok", role="status"
    )


def no_mail() -> rx.Component:
    return note(NO_MAIL, tone="warn", icon="mail_warning")


def entry(name: str, **props: Any) -> rx.Component:
    """A field that starts with the value under its name in the address's query.

    dashboard.js fills it, once: a value from the State would arrive after the user began to type.
    """
    return h.input_(
        id=name, name=name, class_name="input lg", required=True, data_query=name, **props
    )


def email_entry() -> rx.Component:
    return entry("email", type="email", auto_complete="username", auto_focus=True)


def handed_on(name: str) -> rx.Component:
    """A hidden field that submits the value under `name` in the address's query with the form."""
    return h.input_(type="hidden", name=name, data_query=name)


def password_field(
    label: str, *, error: Any, hint: Child = None, aside: Child = None, **props: Any
) -> rx.Component:
    eye = button(
        h.icon("eye_off"),
        look="ghost",
        size="icon",
        data_reveal="",
        aria_label="Show the password",
        aria_pressed="false",
    )
    control = h.input_(id="password", name="password", type="password", required=True, **props)
    box = h.div(control, eye, class_name="input lg pw")
    return field(label, box, hint=hint, error=error, aside=aside, control_id="password")


def other_way(question: str, text: str, to: Any) -> rx.Component:
    """The line under a form: where to go instead."""
    line = h.div(question, h.link(text, to=to, class_name="link"), class_name="muted")
    return h.div(line, style={"textAlign": "center"})


def way_on(text: str, to: Any, *, look: str = "pri") -> rx.Component:
    return link_button(text, to=to, look=look, size="lg")
