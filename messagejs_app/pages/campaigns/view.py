"""How campaigns look: the list with its upload, and the progress of the open campaign."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    button,
    card,
    empty,
    link_button,
    note,
    page_title,
    skeleton_rows,
    status,
)
from messagejs_app.components.overlays import confirm
from messagejs_app.layout import frame
from messagejs_app.pages.campaigns.draft_state import DraftState
from messagejs_app.pages.campaigns.draft_view import draft
from messagejs_app.pages.campaigns.parts import problems_table, title
from messagejs_app.pages.campaigns.rows import ListedCampaign, StatusCount
from messagejs_app.pages.campaigns.state import PATH, CampaignsState
from messagejs_app.session import Session

_STATE = CampaignsState


def page() -> rx.Component:
    campaign = h.when(_STATE.state == "draft", draft(), _running())
    return frame(
        h.when(
            _STATE.is_loaded,
            h.when(_STATE.open_id != "", campaign, _list()),
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
            h.tbody(h.each(_STATE.rows, _row)),
            class_name="cards",
        )
    )


def _row(row: ListedCampaign) -> rx.Component:
    cover = h.link(to=h.join(f"{PATH}?id=", row.id), class_name="cover", aria_label=row.name)
    progress = h.span(
        _bar(row.percent), h.span(row.percent, class_name="num muted"), class_name="row"
    )
    return h.tr(
        h.td(cover, h.span(row.name, class_name="med ell")),
        h.td(status(row.state, row.dot)),
        h.td(progress),
        h.td(row.rows, class_name="right num drop"),
        h.td(row.failed, class_name="right num drop"),
        h.td(h.time(row.at, "ago"), class_name="right muted drop"),
        class_name="link-row",
        key=row.id,
    )


def _bar(percent: Any, **style: Any) -> rx.Component:
    return h.span(h.i(style={"width": percent}), class_name="bar", style=style)


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
        title(status(_STATE.campaign.state, _STATE.campaign.dot), pause, resume, cancel),
        h.div(
            why,
            progress,
            h.when(_STATE.problems, problems_table(_STATE.problems, download)),
            class_name="stack",
        ),
    )


def _count(count: StatusCount) -> rx.Component:
    return h.div(
        status(count.status, count.dot),
        h.span(class_name="grow"),
        h.span(count.messages, class_name="num"),
        class_name="row",
    )


def register(app: rx.App) -> None:
    load = [CampaignsState.load, DraftState.load]
    app.add_page(page, route=PATH, title="Campaigns · MessageJS", on_load=load)
