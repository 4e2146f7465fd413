"""How campaigns look: the list with its upload, a draft's form, a running one's progress."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    busy_button,
    button,
    card,
    empty,
    field,
    link_button,
    note,
    page_title,
    segment,
    skeleton_rows,
    status,
)
from messagejs_app.components.overlays import confirm
from messagejs_app.events import debounced
from messagejs_app.layout import frame
from messagejs_app.pages.campaigns.state import (
    PATH,
    CampaignsState,
    Choice,
    Count,
    Line,
    Need,
    Sample,
    Wrong,
)
from messagejs_app.session import Session

_STATE = CampaignsState


def page() -> rx.Component:
    item = h.when(_STATE.state == "draft", _draft(), _running())
    return frame(
        h.when(
            _STATE.is_loaded,
            h.when(_STATE.open_id != "", item, _list()),
            h.fragment(page_title("Campaigns"), card(skeleton_rows(4))),
        ),
        confirm(
            is_open=_STATE.is_canceling,
            title=h.join("Cancel ", _STATE.campaign.name, "?"),
            sentence="Nothing more goes out. What was sent stays sent.",
            verb="Cancel it",
            on_confirm=_STATE.cancel,
            on_change=_STATE.show_cancel,
        ),
        active="Campaigns",
    )


def _upload(look: str = "pri") -> rx.Component:
    """assets/dashboard.js posts the chosen file as a draft, and opens it."""
    chooser = h.input_(
        type="file",
        accept=".csv,text/csv,text/plain",
        hidden=True,
        data_campaign_file="",
        data_project=Session.project_id,
        data_mode=Session.mode,
    )
    return h.label(
        h.icon("upload"),
        "Upload CSV",
        chooser,
        class_name=f"btn {look}",
        data_create="",
        tab_index=0,
    )


def _list() -> rx.Component:
    nothing = card(
        empty(
            "No campaigns",
            "One message to every row of a table. The first line of the file names its columns.",
            _upload("sec"),
        )
    )
    trouble = h.div(
        h.icon("triangle_alert", 14),
        h.span(class_name="grow", id="upload-error"),
        class_name="note bad",
        id="upload-note",
        role="alert",
        hidden=True,
        style={"marginBottom": "16px"},
    )
    return h.fragment(
        page_title("Campaigns", h.when(_STATE.rows, _upload())),
        trouble,
        h.when(_STATE.rows, _table(), nothing),
    )


def _table() -> rx.Component:
    widths = ("", "148px", "180px", "104px", "104px", "116px")
    columns = [h.col(style={"width": width}) if width else h.col() for width in widths]
    head = h.tr(
        h.th("Campaign"),
        h.th("State"),
        h.th("Progress"),
        h.th("Rows", class_name="right"),
        h.th("Errors", class_name="right"),
        h.th("Made", class_name="right"),
    )
    return card(
        h.table(
            h.colgroup(*columns),
            h.thead(head),
            h.tbody(h.each(_STATE.rows, _line)),
            class_name="cards",
        )
    )


def _line(line: Line) -> rx.Component:
    cover = h.link(to=h.join(f"{PATH}?id=", line.id), class_name="cover", aria_label=line.name)
    progress = h.span(
        _bar(line.percent), h.span(line.percent, class_name="num muted"), class_name="row"
    )
    return h.tr(
        h.td(cover, h.span(line.name, class_name="med ell")),
        h.td(status(line.state, line.dot)),
        h.td(progress),
        h.td(line.rows, class_name="right num drop"),
        h.td(line.failed, class_name="right num drop"),
        h.td(h.time(line.at, "ago"), class_name="right muted drop"),
        class_name="link-row",
        key=line.id,
    )


def _bar(percent: Any, **style: Any) -> rx.Component:
    return h.span(h.i(style={"width": percent}), class_name="bar", style=style)


def _title(*actions: rx.Component) -> rx.Component:
    back = h.link("Campaigns", to=PATH, class_name="muted")
    return h.fragment(
        h.div(back, class_name="small", style={"marginBottom": "4px"}),
        h.div(
            h.h1(_STATE.campaign.name), h.span(class_name="grow"), *actions, class_name="title mid"
        ),
    )


def _draft() -> rx.Component:
    whole = h.when(_STATE.errors[""], note(_STATE.errors[""], tone="bad", icon="triangle_alert"))
    connector = field(
        "Connector",
        _select("connectorId", _STATE.connectors, _STATE.connector_id, _STATE.choose_connector),
        error=_STATE.errors["connectorId"],
    )
    mapping = h.div(h.each(_STATE.needs, _need), class_name="grid2")
    foot = h.div(
        busy_button(
            "Check rows", busy=_STATE.is_busy, icon="list_checks", look="sec", on_click=_STATE.check
        ),
        busy_button(
            h.join("Send ", _STATE.campaign.rows, " rows"),
            busy=_STATE.is_busy,
            icon="send",
            on_click=_STATE.start,
            data_submit="",
        ),
        h.span(class_name="grow"),
        button("Discard", look="ghost", size="sm", on_click=_STATE.show_cancel(True)),
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
    return h.fragment(
        _title(
            status("Draft", "queued ring"),
            h.span(_STATE.campaign.rows, " rows", class_name="muted small num"),
        ),
        h.div(card(body, foot, title="Message", actions=kinds), _findings(), class_name="stack"),
    )


def _by_template() -> rx.Component:
    chosen = field(
        "Template",
        _select("templateId", _STATE.templates, _STATE.template_id, _STATE.choose_template),
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
    result = h.fragment(
        h.when(_STATE.is_good, good, bad),
        h.when(_STATE.wrong, _errors("Rows with errors")),
        samples,
    )
    return h.when(_STATE.is_checked, result)


def _sample(sample: Sample) -> rx.Component:
    return h.div(
        h.div(sample.recipient, class_name="muted small num"),
        h.div(sample.text, style={"whiteSpace": "pre-wrap"}),
    )


def _errors(title: str, *actions: rx.Component) -> rx.Component:
    widths = ("72px", "180px", "")
    columns = [h.col(style={"width": width}) if width else h.col() for width in widths]
    head = h.tr(h.th("Line"), h.th("Field"), h.th("What is wrong"))
    table = h.table(
        h.colgroup(*columns),
        h.thead(head),
        h.tbody(h.each(_STATE.wrong, _wrong)),
        class_name="cards",
    )
    return card(table, title=title, meta="The first 20", actions=h.fragment(*actions))


def _wrong(wrong: Wrong) -> rx.Component:
    return h.tr(
        h.td(wrong.row, class_name="num"),
        h.td(wrong.field, class_name="mono muted ell"),
        h.td(wrong.message, title=wrong.code, style={"whiteSpace": "normal"}),
    )


def _running() -> rx.Component:
    is_open = (_STATE.state == "running") | (_STATE.state == "paused")
    cancel = h.when(is_open, button("Cancel", look="danger", on_click=_STATE.show_cancel(True)))
    pause = h.when(
        _STATE.state == "running",
        button(h.icon("pause"), "Pause", on_click=_STATE.pause, data_live=""),
    )
    resume = h.when(
        _STATE.state == "paused",
        button(h.icon("play"), "Resume", look="pri", on_click=_STATE.resume, data_live=""),
    )
    why = h.when(_STATE.reason, note(_STATE.reason, tone="warn", icon="triangle_alert"))
    messages = link_button(
        "Messages",
        h.icon("chevron_right", 14),
        to=h.join("/messages?campaign=", _STATE.open_id),
        look="ghost",
        size="sm",
    )
    progress = card(
        h.div(
            h.div(
                _bar(_STATE.campaign.percent, width="auto", flex="1", height="8px"),
                h.span(_STATE.campaign.percent, class_name="num med"),
                class_name="row",
                role="progressbar",
                aria_label="Rows accepted",
            ),
            h.div(h.each(_STATE.counts, _count), class_name="grid2"),
            class_name="cb stack",
        ),
        title=h.span(
            _STATE.campaign.done, " of ", _STATE.campaign.rows, " rows accepted", class_name="num"
        ),
        actions=messages,
    )
    download = h.external(
        h.icon("download", 14),
        "Download",
        href=h.join("/api/v1/campaigns/", _STATE.open_id, "/errors"),
        class_name="btn ghost sm",
    )
    return h.fragment(
        _title(status(_STATE.campaign.state, _STATE.campaign.dot), pause, resume, cancel),
        h.div(
            why,
            progress,
            h.when(_STATE.wrong, _errors("Rows with errors", download)),
            class_name="stack",
        ),
    )


def _count(count: Count) -> rx.Component:
    return h.div(
        status(count.status, count.dot),
        h.span(class_name="grow"),
        h.span(count.messages, class_name="num"),
        class_name="row",
    )


def register(app: rx.App) -> None:
    app.add_page(page, route=PATH, title="Campaigns · MessageJS", on_load=CampaignsState.load)
