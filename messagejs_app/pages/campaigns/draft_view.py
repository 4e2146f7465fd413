"""The form of a draft, and what its check finds."""

from __future__ import annotations

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    busy_button,
    button,
    card,
    field,
    note,
    segment,
    select,
    skeleton_rows,
    status,
)
from messagejs_app.events import debounced
from messagejs_app.pages.campaigns.draft_state import DraftState, Need
from messagejs_app.pages.campaigns.parts import problems_table, title
from messagejs_app.pages.campaigns.rows import Sample
from messagejs_app.pages.campaigns.state import CampaignsState

_STATE = DraftState
_CAMPAIGN = CampaignsState.campaign


def draft() -> rx.Component:
    """The form belongs to the campaign that is open now, not to the one before."""
    return h.fragment(
        title(
            status("Draft", "queued ring"),
            h.span(_CAMPAIGN.rows, " rows", class_name="muted small num"),
        ),
        h.when(
            _STATE.campaign_id == CampaignsState.open_id,
            h.div(_form(), _findings(), class_name="stack"),
            card(skeleton_rows(4)),
        ),
    )


def _form() -> rx.Component:
    whole = h.when(_STATE.errors[""], note(_STATE.errors[""], tone="bad", icon="triangle_alert"))
    connector = field(
        "Connector",
        select("connectorId", _STATE.connectors, _STATE.connector_id, _STATE.choose_connector),
        error=_STATE.errors["connectorId"],
    )
    mapping = h.div(h.each(_STATE.needs, _need), class_name="grid2")
    foot = h.div(
        busy_button(
            "Check rows", busy=_STATE.is_busy, icon="list_checks", look="sec", on_click=_STATE.check
        ),
        busy_button(
            h.join("Send ", _CAMPAIGN.rows, " rows"),
            busy=_STATE.is_busy,
            icon="send",
            on_click=_STATE.start,
            data_submit="",
        ),
        h.span(class_name="grow"),
        button("Discard", look="ghost", size="sm", on_click=CampaignsState.show_cancel(True)),
        class_name="cfoot",
    )
    kinds = segment(
        ("template", "Template"),
        ("text", "Text"),
        value=_STATE.what,
        on_pick=_STATE.choose_what,
        label="What to send",
    )
    content = h.when(_STATE.what == "template", _by_template(), _by_text())
    columns = h.div(h.h3("Which column holds what"), class_name="small med")
    body = h.div(whole, connector, content, columns, mapping, class_name="cb stack")
    return card(body, foot, title="Message", actions=kinds)


def _by_template() -> rx.Component:
    chosen = field(
        "Template",
        select("templateId", _STATE.templates, _STATE.template_id, _STATE.choose_template),
        error=_STATE.errors["templateId"],
    )
    none = note(
        "No templates yet. ",
        h.link("Make one", to="/templates/new", class_name="link"),
        " or write a text.",
    )
    return h.when(_STATE.templates, chosen, none)


def _by_text() -> rx.Component:
    area = h.textarea(
        id="message",
        name="message",
        default_value=_STATE.message,
        placeholder="Hello {{name}}, we open at nine tomorrow.",
        class_name="textarea plain",
        rows="4",
        on_change=lambda text: debounced(_STATE.write(text), 400),
    )
    return field(
        "Text",
        area,
        hint="Variables in double braces; each is a column.",
        error=_STATE.errors["message"],
    )


def _need(need: Need) -> rx.Component:
    name = h.join("column.", need.name)
    control = h.select(
        h.option("Choose a column", value=""),
        h.each(_STATE.columns, lambda column: h.option(column, value=column)),
        id=name,
        value=need.column,
        on_change=lambda column: _STATE.choose_column(need.name, column),
        class_name="input",
    )
    return field(need.title, control, control_id=name, key=need.name)


def _findings() -> rx.Component:
    good = note(_STATE.verdict, tone="ok", icon="check")
    bad = note(_STATE.verdict, tone="warn", icon="triangle_alert")
    samples = h.when(
        _STATE.samples,
        card(
            h.div(h.each(_STATE.samples, _sample), class_name="cb stack"),
            title="The first messages",
        ),
    )
    findings = h.fragment(
        h.when(_STATE.is_good, good, bad),
        h.when(_STATE.problems, problems_table(_STATE.problems)),
        samples,
    )
    return h.when(_STATE.is_checked, findings)


def _sample(sample: Sample) -> rx.Component:
    return h.div(
        h.div(sample.recipient, class_name="muted small num"),
        h.div(sample.text, style={"whiteSpace": "pre-wrap"}),
    )
