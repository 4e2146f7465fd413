"""How Overview looks."""

from __future__ import annotations

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    card,
    link_button,
    page_title,
    provider_icon,
    segment,
    skeleton_rows,
    status,
)
from messagejs_app.components.statuses import SERIES
from messagejs_app.layout import frame
from messagejs_app.pages.overview.first_steps import done, steps
from messagejs_app.pages.overview.state import (
    Bar,
    ConnectorRow,
    Failure,
    Figure,
    OverviewState,
    Series,
    Tick,
)


def page() -> rx.Component:
    ranges = segment(
        ("24h", "24 h"),
        ("7d", "7 d"),
        ("30d", "30 d"),
        value=OverviewState.window,
        on_pick=OverviewState.choose_window,
        label="Time",
    )
    since = h.span(
        h.time(OverviewState.start, "minute"),
        " – ",
        h.time(OverviewState.end, "minute"),
        class_name="small muted hide-s",
    )
    return frame(
        page_title("Overview", h.when(OverviewState.has_messages, since), ranges),
        h.div(
            h.when(OverviewState.is_ready, h.when(OverviewState.is_set_up, done(), steps())),
            _figures(),
            _chart(),
            h.div(_connectors(), _failures(), class_name="cols"),
            class_name="stack",
        ),
        active="Overview",
    )


def _figures() -> rx.Component:
    empty = [
        h.div(h.span(class_name="skel"), class_name="kpi", style={"height": "112px"})
        for _ in range(4)
    ]
    drawn = h.each(OverviewState.figures, _figure)
    return h.section(
        h.when(OverviewState.is_ready, drawn, h.fragment(*empty)), class_name="card kpis"
    )


def _figure(figure: Figure) -> rx.Component:
    line = h.tag(
        "svg",
        h.tag("path", d=figure.spark),
        view_box="0 0 72 28",
        class_name=h.pick(figure.color == "red", "spark red", "spark"),
        custom_attrs={"aria-hidden": "true"},
    )
    return h.link(
        h.span(figure.name, class_name="k"),
        h.span(
            figure.value,
            class_name="v",
            style={"color": h.pick(OverviewState.has_messages, "inherit", "var(--gray-11)")},
        ),
        h.when(figure.spark, line, h.span()),
        h.span(figure.note, class_name="n"),
        to=figure.link,
        class_name="kpi",
    )


def _chart() -> rx.Component:
    legend = h.when(
        OverviewState.has_messages,
        h.div(h.each(OverviewState.series, _legend), class_name="legend"),
        h.fragment(),
    )
    nothing = h.div(
        h.div(
            h.h3("No messages in the last ", OverviewState.window_name),
            h.span("Your first send appears here within a second."),
            style={"background": "var(--color-panel-solid)", "padding": "4px 16px"},
        ),
        class_name="empty",
        style={"position": "absolute", "inset": 0, "paddingBottom": "52px"},
    )
    plot = h.div(
        h.div(h.each(OverviewState.lines, _y_label), class_name="ylab"),
        h.div(
            h.each(OverviewState.lines, _grid_line),
            h.when(OverviewState.has_messages, h.each(OverviewState.bars, _bar)),
            class_name="area",
        ),
        h.div(h.each(OverviewState.days, _x_label), class_name="xlab"),
        class_name="plot",
        role="img",
        aria_label="Messages by status",
    )
    head = h.div(h.h2("Messages by status"), legend, class_name="ch wrap")
    body = h.div(
        plot,
        h.when(OverviewState.is_ready & ~OverviewState.has_messages, nothing),
        class_name="chart",
    )
    return h.section(head, body, class_name="card", style={"overflow": "visible"})


def _swatch(css: object) -> rx.Component:
    return h.i(style={"background": h.join("var(--mj-c-", css, ")")})


def _legend(series: Series) -> rx.Component:
    return h.link(_swatch(series.css), series.name, " ", h.tag("b", series.count), to=series.link)


def _y_label(tick: Tick) -> rx.Component:
    return h.span(tick.label, style={"bottom": tick.position})


def _grid_line(tick: Tick) -> rx.Component:
    return h.div(
        class_name=h.pick(tick.position == "0.00%", "gl base", "gl"),
        style={"bottom": tick.position},
    )


def _x_label(tick: Tick) -> rx.Component:
    return h.time(tick.at, tick.label, style={"left": tick.position})


def _bar(bar: Bar) -> rx.Component:
    # Heights come from the top down, the series from the bottom up.
    parts = [
        h.when(
            bar.heights[index] != "0.00%",
            h.i(style={"height": bar.heights[index], "background": f"var(--mj-c-{css})"}),
        )
        for index, (_, css, _) in enumerate(reversed(SERIES))
    ]
    rows = [
        h.div(h.i(style={"background": f"var(--mj-c-{css})"}), name, h.tag("b", bar.counts[index]))
        for index, (name, css, _) in enumerate(SERIES)
    ]
    time = h.div(h.time(bar.start, "minute"), "–", h.time(bar.end, "short"), class_name="t")
    return h.link(
        *parts,
        h.div(time, *rows, class_name="tip"),
        to=bar.link,
        class_name=h.pick(bar.is_right, "col r", "col"),
        aria_label="Messages of this time",
    )


def _connectors() -> rx.Component:
    columns = h.colgroup(
        h.col(),
        h.col(style={"width": "132px"}),
        h.col(style={"width": "92px"}),
        h.col(style={"width": "124px"}),
    )
    head = h.thead(
        h.tr(
            h.th("Connector"),
            h.th("Accepted"),
            h.th("Delivered", class_name="right"),
            h.th("Health", style={"paddingLeft": "16px"}),
        )
    )
    table = h.table(
        columns, head, h.tbody(h.each(OverviewState.connectors, _connector)), class_name="ctable"
    )
    return card(
        h.when(OverviewState.is_ready, table, skeleton_rows(2)),
        title="Connectors",
        actions=link_button(
            "All connectors", h.icon("chevron_right", 14), to="/connectors", look="ghost", size="sm"
        ),
    )


def _connector(connector_row: ConnectorRow) -> rx.Component:
    name = h.span(
        provider_icon(connector_row.kind),
        h.span(connector_row.name, class_name="ell"),
        class_name="row",
    )
    share = h.span(
        h.span(
            h.i(style={"width": connector_row.share}), class_name="bar", style={"width": "56px"}
        ),
        connector_row.accepted,
        class_name="row",
    )
    cover = h.link(
        to=f"/connectors/{connector_row.id}", class_name="cover", aria_label=connector_row.name
    )
    return h.tr(
        h.td(cover, name),
        h.td(share, class_name="num"),
        h.td(connector_row.delivered, class_name="right"),
        h.td(status(connector_row.health, connector_row.dot), style={"paddingLeft": "16px"}),
        class_name="link-row",
    )


def _failures() -> rx.Component:
    every = h.when(
        OverviewState.all_failures,
        h.link(
            "All ",
            OverviewState.all_failures,
            h.icon("chevron_right", 14),
            to="/messages?status=failed",
            class_name="btn ghost sm",
        ),
    )
    nothing = h.div(
        "Nothing has failed. Failures show here with their reason.",
        class_name="muted",
        style={"padding": "10px 16px"},
    )
    some = h.fragment(h.each(OverviewState.failures, _failure))
    return card(
        h.when(OverviewState.failures, some, nothing), title="Latest failures", actions=every
    )


def _failure(failure: Failure) -> rx.Component:
    first = h.span(
        status(h.span(failure.status, class_name="med"), failure.dot),
        h.span(failure.address, class_name="muted ell num"),
        class_name="row",
    )
    return h.link(
        first,
        h.time(failure.at, "short"),
        h.span(failure.reason, class_name="d ell"),
        to=f"/messages?id={failure.id}",
        class_name="fail",
    )


def register(app: rx.App) -> None:
    app.add_page(page, route="/", title="Overview · MessageJS", on_load=OverviewState.load)
