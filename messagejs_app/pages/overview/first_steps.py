"""The three first steps, each of which ticks itself, and the line that says they are done."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.code import code_tabs
from messagejs_app.components.controls import busy_button, button, card, link_button
from messagejs_app.pages.overview.state import OverviewState


def done() -> rx.Component:
    tick = h.span(h.icon("circle_check"), style={"color": "var(--green-11)"})
    words = h.span(
        h.span("You are set up.", class_name="med"),
        " ",
        h.span("Connector, template and first message are there.", class_name="muted"),
        class_name="grow",
    )
    strip = h.section(
        h.span(tick, words, class_name="row grow"),
        button("Hide", look="ghost", size="sm", on_click=OverviewState.hide_setup),
        class_name="card strip",
    )
    return h.when(OverviewState.hidden_for != OverviewState.project_id, strip)


def steps() -> rx.Component:
    bars = [
        h.i(class_name=h.pick(OverviewState.steps_done >= count, "on", "")) for count in (1, 2, 3)
    ]
    progress = h.fragment(
        h.div(*bars, class_name="prog"),
        h.span(OverviewState.steps_done, " of 3", class_name="small muted num"),
    )
    left = h.div(
        _connector(),
        h.when(OverviewState.has_template, _template(), _make_template()),
        h.when(OverviewState.has_sent, _sent(), _send()),
    )
    columns = {"display": "grid", "gridTemplateColumns": "minmax(0, 1fr) 440px"}
    return card(
        h.div(left, _call(), class_name="fr", style=columns),
        title="Send your first message",
        meta="About a minute. No provider account needed.",
        actions=progress,
    )


def _call() -> rx.Component:
    tabs = code_tabs(
        language=OverviewState.language,
        on_pick=OverviewState.choose_language,
        text=OverviewState.code,
        parts=OverviewState.code_parts,
        small=True,
    )
    return h.div(
        tabs, class_name="code", style={"borderLeft": "1px solid var(--mj-hairline)", "minWidth": 0}
    )


def _connector() -> rx.Component:
    another = link_button("Add another", to="/connectors", size="sm")
    return _done_step(
        "Add a connector", "Sandbox is ready. It delivers to a virtual inbox here.", another
    )


def _template() -> rx.Component:
    edit = h.link(
        "Edit", to=h.join("/templates/", OverviewState.template_id), class_name="btn sec sm"
    )
    return _done_step("Make a template", OverviewState.template_note, edit)


def _make_template() -> rx.Component:
    return _open_step(
        "Make a template",
        "A text with variables, checked on every send.",
        "step now",
        button(
            "Make a Welcome template",
            look="pri",
            on_click=OverviewState.make_template,
            data_submit="",
        ),
        link_button("Write your own", to="/templates/new"),
    )


def _send() -> rx.Component:
    return _open_step(
        "Send it",
        "From here, or run the call beside this. The step ticks itself when the message is"
        " accepted.",
        h.pick(OverviewState.has_template, "step now", "step later"),
        h.when(
            OverviewState.has_template,
            busy_button(
                "Send to Sandbox",
                busy=OverviewState.is_working,
                icon="send",
                on_click=OverviewState.send_first,
                data_submit="",
            ),
        ),
        h.when(OverviewState.has_template, link_button("Open Playground", to="/playground")),
    )


def _sent() -> rx.Component:
    look = link_button("Look at it", to="/messages", size="sm")
    return _done_step("Send it", "Your first message is in Messages.", look)


def _done_step(title: str, sentence: Any, action: rx.Component) -> rx.Component:
    words = h.div(h.div(title, class_name="med"), h.div(sentence, class_name="muted small"))
    return h.div(h.icon("circle_check", 20), words, action, class_name="step done")


def _open_step(title: str, sentence: str, class_name: Any, *buttons: rx.Component) -> rx.Component:
    row = h.div(*buttons, class_name="row", style={"marginTop": "12px", "flexWrap": "wrap"})
    words = h.div(h.div(title, class_name="med"), h.div(sentence, class_name="muted small"), row)
    return h.div(h.icon("circle", 20), words, h.span(), class_name=class_name)
