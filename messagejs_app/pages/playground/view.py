"""How the Playground looks."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.code import code, code_tabs
from messagejs_app.components.controls import (
    busy_button,
    card,
    field,
    note,
    page_title,
    segment,
    skeleton_rows,
)
from messagejs_app.events import debounced
from messagejs_app.layout import frame
from messagejs_app.pages.playground.state import Choice, Moment, PlaygroundState, Variable

_STATE = PlaygroundState


def page() -> rx.Component:
    where = h.pick(_STATE.mode == "test", "Sends to Sandbox", "Sends for real")
    call = h.section(
        code_tabs(
            language=_STATE.language,
            on_pick=_STATE.choose_language,
            text=_STATE.code,
            parts=_STATE.code_parts,
        ),
        class_name="card code",
    )
    grid = h.div(
        _form(),
        h.div(call, _response(), class_name="stack"),
        class_name="play",
        style={
            "display": "grid",
            "gridTemplateColumns": "440px minmax(0, 1fr)",
            "gap": "16px",
            "alignItems": "start",
        },
    )
    return frame(
        page_title("Playground", h.span(where, class_name="muted small")),
        h.when(_STATE.is_loaded, grid, card(skeleton_rows(5))),
        active="Playground",
    )


def _form() -> rx.Component:
    whole = h.when(_STATE.errors[""], note(_STATE.errors[""], tone="bad", icon="triangle_alert"))
    connector = field(
        "Connector",
        _select("connectorId", _STATE.connectors, _STATE.connector_id, _STATE.choose_connector),
        error=_STATE.errors["connectorId"],
    )
    foot = h.div(
        busy_button("Send", busy=_STATE.is_sending, icon="send", type="submit", data_submit=""),
        h.span(class_name="grow"),
        h.span(h.keys("mod+Enter"), class_name="hide-s"),
        class_name="cfoot",
    )
    body = h.div(
        whole,
        connector,
        h.when(_STATE.what == "template", _by_template(), _by_text()),
        class_name="cb stack",
    )
    kinds = segment(
        ("template", "Template"),
        ("text", "Text"),
        value=_STATE.what,
        on_pick=_STATE.choose_what,
        label="What to send",
    )
    return card(
        h.form(body, foot, on_submit=_STATE.send, reset_on_submit=False),
        title="Message",
        actions=kinds,
    )


def _by_template() -> rx.Component:
    template = field(
        "Template",
        _select("templateId", _STATE.templates, _STATE.template_id, _STATE.choose_template),
        error=_STATE.errors["templateId"],
    )
    no_template = note(
        "No templates yet. ",
        h.link("Make one", to="/templates/new", class_name="link"),
        " or send a text.",
    )
    variables = h.div(h.each(_STATE.variables, _variable), class_name="grid2")
    return h.fragment(
        h.when(_STATE.templates, template, no_template), _to(), h.when(_STATE.variables, variables)
    )


def _by_text() -> rx.Component:
    area = h.textarea(
        id="message",
        name="message",
        default_value=_STATE.text,
        placeholder="Hello from the Playground",
        class_name="textarea plain",
        rows="4",
        on_change=lambda text: debounced(_STATE.fill("message", text)),
    )
    subject = h.when(
        _STATE.is_email, field("Subject", _typed("subject", default_value=_STATE.subject))
    )
    return h.fragment(_to(), subject, field("Text", area, error=_STATE.errors["message"]))


def _to() -> rx.Component:
    return field(
        "To",
        _typed(
            "to",
            default_value=_STATE.to_,
            placeholder=_STATE.to_example,
            key=h.join("to", _STATE.connector_id),
        ),
        hint=h.join("Like ", _STATE.to_example, "."),
        error=_STATE.errors["to"],
    )


def _typed(name: str, **props: Any) -> rx.Component:
    return h.input_(
        id=name,
        name=name,
        class_name="input",
        auto_complete="off",
        on_change=lambda text: debounced(_STATE.fill(name, text)),
        **props,
    )


def _select(name: str, choices: Any, value: Any, on_change: Any) -> rx.Component:
    return h.select(
        h.each(choices, _option),
        id=name,
        name=name,
        value=value,
        on_change=on_change,
        class_name="input",
    )


def _option(choice: Choice) -> rx.Component:
    return h.option(choice.name, value=choice.value)


def _variable(variable: Variable) -> rx.Component:
    name = h.join("variables.", variable.name)
    control = h.input_(
        id=name,
        name=name,
        default_value=variable.value,
        class_name="input",
        auto_complete="off",
        on_change=lambda text: debounced(_STATE.fill(name, text)),
    )
    label = h.span(variable.name, class_name="mono", style={"fontWeight": 400})
    return field(
        label, control, error=_STATE.errors[name], key=h.join(_STATE.template_id, variable.name)
    )


def _response() -> rx.Component:
    head = h.div(
        h.h2("Response"),
        h.span(
            _STATE.answer_status,
            class_name=h.pick(_STATE.is_refused, "badge red num", "badge grn num"),
        ),
        h.span(class_name="grow"),
        h.span(_STATE.took, class_name="muted small num"),
        class_name="ch",
    )
    columns = h.pick(_STATE.is_refused, "minmax(0, 1fr)", "minmax(0, 1fr) 216px")
    moments = h.div(
        h.div(h.each(_STATE.moments, _moment), class_name="tl", id="moments"),
        style={"borderLeft": "1px solid var(--mj-hairline)", "padding": "16px"},
    )
    body = h.div(
        h.div(code(_STATE.answer), class_name="code", style={"minWidth": 0}),
        h.when(_STATE.is_refused, None, moments),
        class_name="pgrid",
        style={"display": "grid", "gridTemplateColumns": columns},
    )
    hint = h.div(
        "Pick a template or write a text; the call above fills itself.",
        class_name="muted",
        style={"padding": "4px 2px"},
    )
    return h.when(
        _STATE.answer_status, h.section(head, body, _response_foot(), class_name="card"), hint
    )


def _response_foot() -> rx.Component:
    to_message = h.link(
        "Open message",
        h.icon("arrow_right", 14),
        to=h.join("/messages?id=", _STATE.sent_id),
        class_name="btn ghost sm",
    )
    foot = h.div(
        h.span(_STATE.sent_id, class_name="small muted mono ell"),
        h.span(class_name="grow"),
        to_message,
        class_name="cfoot",
        style={"padding": "8px 16px"},
    )
    return h.when(_STATE.sent_id, foot)


def _moment(moment: Moment) -> rx.Component:
    return h.div(
        h.span(class_name=h.pick(moment.is_ring, "d ring", "d")),
        h.span(moment.status, class_name="med"),
        h.span(moment.after, class_name="muted small num"),
        class_name=h.join("ev ", moment.css),
    )


def register(app: rx.App) -> None:
    app.add_page(
        page, route="/playground", title="Playground · MessageJS", on_load=PlaygroundState.load
    )
