"""What the pages of a draft and of a running campaign share."""

from __future__ import annotations

from typing import Any

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import card
from messagejs_app.pages.campaigns.rows import RowProblem
from messagejs_app.pages.campaigns.state import PATH, CampaignsState


def title(*actions: rx.Component) -> rx.Component:
    back = h.link("Campaigns", to=PATH, class_name="muted")
    return h.fragment(
        h.div(back, class_name="small", style={"marginBottom": "4px"}),
        h.div(
            h.h1(CampaignsState.campaign.name),
            h.span(class_name="grow"),
            *actions,
            class_name="title mid",
        ),
    )


def problems_table(problems: Any, *actions: rx.Component) -> rx.Component:
    widths = ("72px", "180px", "")
    columns = [h.col(style={"width": width}) if width else h.col() for width in widths]
    head = h.tr(h.th("Line"), h.th("Field"), h.th("What is wrong"))
    table = h.table(
        h.colgroup(*columns),
        h.thead(head),
        h.tbody(h.each(problems, _problem)),
        class_name="cards",
    )
    return card(table, title="Rows with errors", meta="The first 20", actions=h.fragment(*actions))


def _problem(problem: RowProblem) -> rx.Component:
    return h.tr(
        h.td(problem.row, class_name="num"),
        h.td(problem.field, class_name="mono muted ell"),
        h.td(problem.message, title=problem.code, style={"whiteSpace": "normal"}),
    )
