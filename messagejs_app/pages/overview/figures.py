"""What Overview draws, made from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

from backend import ids
from backend.services.reporting.overview import (
    ConnectorNumbers,
    LatestFailure,
    Overview,
    TimeBucket,
)
from messagejs_app.components.statuses import SERIES, dot, word
from messagejs_app.pages.connectors.health import health_of
from messagejs_app.wording import duration, instant, number, percent, recipient

_STATUSES: Final = {name: statuses for name, _, statuses in SERIES}
_DELIVERED: Final = _STATUSES["Delivered"]
_FAILED: Final = _STATUSES["Failed"]


@dataclass
class Series:
    name: str
    css: str
    count: str
    link: str


@dataclass
class Bar:
    """One bucket. `heights` are percent of the chart, from the top down, as they are drawn."""

    start: str
    end: str
    link: str
    is_right: bool
    heights: list[str]
    counts: list[str]


@dataclass
class Tick:
    at: str
    position: str
    label: str


@dataclass
class Figure:
    name: str
    value: str
    note: str
    spark: str
    color: str
    link: str


@dataclass
class ConnectorFigures:
    id: str
    kind: str
    name: str
    accepted: str
    share: str
    delivered: str
    health: str
    dot: str


@dataclass
class Failure:
    id: str
    status: str
    dot: str
    address: str
    reason: str
    at: str


def round_up(value: int) -> int:
    """Return the chart's top: three times a round number, so that its three lines are at round
    numbers.
    """
    scale = 1
    while True:
        for unit in (1, 2, 3, 4, 5, 6, 8):
            if 3 * unit * scale >= max(value, 1):
                return 3 * unit * scale
        scale *= 10


def series_of(by_status: Mapping[str, int]) -> list[Series]:
    return [
        Series(name, css, number(_sum(by_status, statuses)), f"/messages?status={statuses[0]}")
        for name, css, statuses in SERIES
    ]


def bars_of(buckets: Sequence[TimeBucket], end: datetime, top: int) -> list[Bar]:
    """`top`: the number of messages at the chart's top."""
    ends = [*(bucket.start for bucket in buckets[1:]), end]
    return [
        _bar(bucket, instant(until), top, is_right=index > len(ends) // 2)
        for index, (bucket, until) in enumerate(zip(buckets, ends, strict=True))
    ]


def _bar(bucket: TimeBucket, end: str, top: int, *, is_right: bool) -> Bar:
    counts = [_sum(bucket.counts, statuses) for _, _, statuses in SERIES]
    since = instant(bucket.start)
    return Bar(
        start=since,
        end=end,
        link=f"/messages?from={quote(since)}&to={quote(end)}",
        is_right=is_right,
        heights=[f"{100 * count / top:.2f}%" for count in reversed(counts)],
        counts=[number(count) for count in counts],
    )


def lines_of(top: int) -> list[Tick]:
    return [Tick("", f"{part * 100 / 3:.2f}%", number(top * part // 3)) for part in range(4)]


def days_of(numbers: Overview) -> list[Tick]:
    """Label every third hour, every day of a week, or every fifth day of a month."""
    every = {"24h": 3, "7d": 1, "30d": 5}[numbers.window]
    count = len(numbers.buckets)
    return [
        Tick(
            instant(bucket.start),
            f"{100 * (index + 0.5) / count:.2f}%",
            "short" if every == 3 else "day",
        )
        for index, bucket in enumerate(numbers.buckets)
        if index % every == 0
    ]


def figures_of(numbers: Overview) -> list[Figure]:
    totals = [bucket.total for bucket in numbers.buckets]
    delivered = [_sum(bucket.counts, _DELIVERED) for bucket in numbers.buckets]
    failed = [_sum(bucket.counts, _FAILED) for bucket in numbers.buckets]
    delivered_note, failed_note = "Share of messages handed over", "Failed, undelivered or expired"
    if numbers.handed_over:
        of_all = f"{number(numbers.delivered)} of {number(numbers.handed_over)}"
        delivered_note = f"{of_all} handed over"
    if numbers.accepted:
        failed_note = f"{percent(numbers.failed, numbers.accepted)} of accepted"
    return [
        Figure(
            "Accepted",
            number(numbers.accepted),
            "Messages taken by the API",
            _spark(totals),
            "iris",
            "/messages",
        ),
        Figure(
            "Delivered",
            percent(numbers.delivered, numbers.handed_over),
            delivered_note,
            _spark(delivered),
            "iris",
            "/messages?status=delivered",
        ),
        Figure(
            "Failed",
            number(numbers.failed),
            failed_note,
            _spark(failed),
            "red",
            "/messages?status=failed",
        ),
        Figure(
            "p95 to provider",
            duration(numbers.p95_ms),
            "Accept to provider answer",
            "",
            "iris",
            "/messages",
        ),
    ]


def _spark(values: list[int]) -> str:
    """Return an SVG path, 72 by 28; "" when there is nothing to draw."""
    top = max(values, default=0)
    if top == 0 or len(values) < 2:
        return ""
    step = 72 / (len(values) - 1)
    points = (
        f"{index * step:.1f} {25 - 22 * value / top:.1f}" for index, value in enumerate(values)
    )
    return "M" + " L".join(points)


def connectors_of(numbers: Overview) -> list[ConnectorFigures]:
    return [_connector(connector, numbers.accepted) for connector in numbers.connectors]


def _connector(connector: ConnectorNumbers, accepted: int) -> ConnectorFigures:
    health, css = health_of(connector)
    return ConnectorFigures(
        id=ids.encode(ids.CONNECTOR, connector.id),
        kind=connector.type,
        name=connector.name,
        accepted=number(connector.accepted),
        share=f"{100 * connector.accepted / accepted:.0f}%" if accepted else "0%",
        delivered=percent(connector.delivered, connector.handed_over),
        health=health,
        dot=css,
    )


def failure_of(failure: LatestFailure) -> Failure:
    code = f" ({failure.code})" if failure.code else ""
    return Failure(
        id=ids.encode(ids.MESSAGE, failure.message_id),
        status=word(failure.status),
        dot=dot(failure.status),
        address=recipient(failure.recipient),
        reason=f"{failure.reason.rstrip('.')}{code}",
        at=instant(failure.at),
    )


def _sum(counts: Mapping[str, int], statuses: Sequence[str]) -> int:
    return sum(counts.get(status, 0) for status in statuses)
