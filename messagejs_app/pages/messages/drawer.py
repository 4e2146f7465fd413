"""One message, beside the list: its content, timeline, and attempts with the provider's answers."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.code import code
from messagejs_app.components.controls import badge, button, copy_button, note, status
from messagejs_app.pages.messages.rows import AttemptShown, TimelineStep
from messagejs_app.pages.messages.state import MessagesState

_SHOWN = MessagesState.message


def drawer() -> rx.Component:
    body = h.div(_title(), _facts(), _content(), _timeline(), class_name="dbody")
    return h.aside(_head(), body, class_name="drawer", role="dialog", aria_label="Message")


def _head() -> rx.Component:
    return h.div(
        h.span(_SHOWN.id, class_name="mono muted ell"),
        copy_button(_SHOWN.id, text=None),
        h.span(class_name="grow"),
        _neighbour(MessagesState.previous_id, "chevron_up", "Previous, K"),
        _neighbour(MessagesState.next_id, "chevron_down", "Next, J"),
        button(
            h.icon("x"),
            look="ghost",
            size="icon sm",
            aria_label="Close",
            on_click=MessagesState.close,
            data_close="",
        ),
        class_name="dhead",
    )


def _neighbour(message_id: Any, icon: str, label: str) -> rx.Component:
    return button(
        h.icon(icon),
        look="ghost",
        size="icon sm",
        class_name="hide-s",
        aria_label=label,
        title=label,
        disabled=message_id == "",
        on_click=MessagesState.choose("id", message_id),
    )


def _title() -> rx.Component:
    head = h.div(
        h.h2(_SHOWN.address, class_name="num big"),
        badge(status(_SHOWN.status, _SHOWN.dot)),
        class_name="row",
        style={"marginBottom": "12px", "gap": "12px"},
    )
    curl = button(
        h.icon("square_terminal"),
        "Copy as cURL",
        h.icon("check"),
        data_copy=_SHOWN.curl,
        data_curl="",
        class_name="curl",
    )
    return h.div(head, h.div(curl, class_name="row", style={"flexWrap": "wrap"}))


def _facts() -> rx.Component:
    def fact(name: str, *value: Any) -> list[rx.Component]:
        return [h.dt(name), h.dd(*value)]

    template = h.when(
        _SHOWN.template,
        h.fragment(
            h.link(
                _SHOWN.template, to=h.join("/templates/", _SHOWN.template_id), class_name="link"
            ),
            " ",
            h.span(_SHOWN.version, class_name="muted"),
        ),
        h.span("None, a plain text", class_name="muted"),
    )
    connector = h.link(
        _SHOWN.connector, to=h.join("/connectors/", _SHOWN.connector_id), class_name="link"
    )
    segments = h.when(
        _SHOWN.segments,
        h.fragment(
            *fact("Segments", _SHOWN.segments, " ", h.span(_SHOWN.encoding, class_name="muted"))
        ),
    )
    return h.dl(
        *fact("Template", template),
        *fact("Connector", connector),
        *fact("Accepted", h.time(_SHOWN.accepted_at, "stamp")),
        *fact("Key", _SHOWN.key, " ", h.span(_SHOWN.mode, class_name="muted")),
        segments,
        class_name="kv",
    )


def _content() -> rx.Component:
    subject = h.when(
        _SHOWN.subject, h.div(_SHOWN.subject, class_name="med", style={"marginBottom": "4px"})
    )
    missing = h.pick(_SHOWN.redacted_at, "Removed", "Empty")
    text = h.when(_SHOWN.text, _SHOWN.text, h.span(missing, class_name="muted"))
    failed = h.when(
        _SHOWN.error,
        h.div(note(_SHOWN.error, tone="bad", icon="triangle_alert"), style={"marginBottom": "8px"}),
    )
    redacted = h.when(_SHOWN.redacted_at, badge("Redacted ", h.time(_SHOWN.redacted_at, "stamp")))
    head = h.div(h.h2("Content"), redacted, class_name="sect")
    return h.section(failed, head, h.div(subject, text, class_name="content"))


def _timeline() -> rx.Component:
    head = h.div(h.h2("Timeline"), class_name="sect")
    return h.section(head, h.div(h.each(_SHOWN.steps, _step), class_name="tl", role="list"))


def _step(step: TimelineStep) -> rx.Component:
    return h.div(
        h.span(class_name=h.pick(step.is_ring, "d ring", "d")),
        h.span(step.status, class_name="med"),
        h.time(step.at, "millis"),
        h.when(step.note, h.span(step.note, class_name="x")),
        h.each(step.attempts, _attempt),
        class_name=h.join("ev ", step.css),
        role="listitem",
    )


def _attempt(attempt: AttemptShown) -> rx.Component:
    head = h.div(
        status("", attempt.dot),
        h.span(attempt.title, class_name="med"),
        h.span(attempt.words, class_name="muted ell"),
        h.span(class_name="grow"),
        h.span(attempt.took, class_name="num muted"),
        class_name="ah",
    )
    reason = h.when(attempt.reason, h.div(attempt.reason, class_name="why"))
    return h.div(head, reason, h.when(attempt.answer, code(attempt.answer)), class_name="att")
