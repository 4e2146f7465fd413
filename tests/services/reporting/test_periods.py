"""Periods: when a day begins, how long it is, and which pieces it is counted from."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from backend.errors import ValidationFailed
from backend.services.reporting.periods import (
    Period,
    Span,
    check_length,
    midnight,
    parse_period,
)
from backend.time_zones import parse_zone

NOW = datetime(2024, 2, 10, 12, 7, tzinfo=UTC)


def _period(zone: str, from_: str, to: str) -> Period:
    return parse_period(from_, to, zone=ZoneInfo(zone), now=NOW)


def _hours(span: Span) -> float:
    return (span.end - span.start) / timedelta(hours=1)


@pytest.mark.parametrize(
    ("zone", "day", "length_h"),
    [
        ("Europe/Berlin", "2024-03-31", 23),
        ("Europe/Berlin", "2024-10-27", 25),
        ("Europe/Berlin", "2024-06-01", 24),
        ("America/Havana", "2024-03-10", 23),  # clocks skip midnight itself
        ("America/Havana", "2024-11-03", 25),
        ("Australia/Lord_Howe", "2024-04-07", 24.5),  # half an hour of daylight saving
        ("Australia/Lord_Howe", "2024-10-06", 23.5),
        ("Asia/Kathmandu", "2024-03-31", 24),
    ],
)
def test_a_day_is_as_long_as_its_clock_says(zone: str, day: str, length_h: float) -> None:
    period = _period(zone, day, day)
    ((named, span),) = period.days()
    assert named == date.fromisoformat(day)
    assert _hours(span) == length_h
    hours = period.hours()
    assert (hours[0].start, hours[-1].end) == (span.start, span.end)
    assert all(before.end == after.start for before, after in pairwise(hours))
    # All hours but those of a clock change begin at a full hour.
    assert sum(hour.start.astimezone(period.zone).minute != 0 for hour in hours) <= 1


@pytest.mark.parametrize(
    ("zone", "begins"),
    [
        ("UTC", "2024-01-31T00:00:00"),
        ("Europe/Berlin", "2024-01-30T23:00:00"),
        ("Asia/Kolkata", "2024-01-30T18:30:00"),
        ("Asia/Kathmandu", "2024-01-30T18:15:00"),
        ("America/New_York", "2024-01-31T05:00:00"),
    ],
)
def test_a_day_begins_at_its_own_midnight(zone: str, begins: str) -> None:
    assert midnight(date(2024, 1, 31), ZoneInfo(zone)) == datetime.fromisoformat(begins).replace(
        tzinfo=UTC
    )


def test_a_day_that_a_country_skipped_is_not_there() -> None:
    days = [
        day.isoformat() for day, _ in _period("Pacific/Apia", "2011-12-28", "2012-01-01").days()
    ]
    assert days == ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"]


def test_pieces_make_up_their_span_exactly() -> None:
    dice = random.Random(7)  # noqa: S311 (a repeatable test)
    for _ in range(500):
        start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * dice.randrange(5000))
        span = Span(start, start + timedelta(minutes=15 * dice.randrange(1, 5000)))
        pieces = list(span.pieces())
        assert len(pieces) <= 5
        assert (pieces[0][1], pieces[-1][2]) == (span.start, span.end)
        assert all(before[2] == after[1] for before, after in pairwise(pieces))
        for grain, begins, ends in pieces:
            assert (begins - datetime(2000, 1, 1, tzinfo=UTC)) % timedelta(
                minutes=grain
            ) == timedelta()
            assert (ends - begins) % timedelta(minutes=grain) == timedelta()


def test_without_dates_it_is_the_last_thirty_days_with_today() -> None:
    period = parse_period(None, None, zone=ZoneInfo("Europe/Berlin"), now=NOW)
    days = period.days()
    assert (len(days), days[0][0], days[-1][0]) == (30, date(2024, 1, 12), date(2024, 2, 10))
    assert period.span.end == datetime(2024, 2, 10, 12, 15, tzinfo=UTC)


def test_date_times_are_rounded_outwards_to_the_quarter_hour() -> None:
    span = _period("UTC", "2024-01-01T10:01:00Z", "2024-01-01T12:16:00+01:00").span
    assert span == Span(
        datetime(2024, 1, 1, 10, tzinfo=UTC), datetime(2024, 1, 1, 11, 30, tzinfo=UTC)
    )
    exact = _period("UTC", "2024-01-01T10:15:00Z", "2024-01-01T10:30:00Z").span
    assert exact == Span(
        datetime(2024, 1, 1, 10, 15, tzinfo=UTC), datetime(2024, 1, 1, 10, 30, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    "name",
    ["Mars/Olympus", "", "../../etc/passwd", "Europe", "Europe/Berlin\x00", "berlin", "localtime"],
)
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ValidationFailed, match="IANA"):
        parse_zone(name)


@pytest.mark.parametrize(
    ("from_", "to", "field"),
    [
        ("2024-02-01", "2024-01-01", "from"),
        ("yesterday", "2024-01-01", "from"),
        ("2024-01-01", "9999-12-31", "to"),
        ("0001-01-01", "2024-01-01", "from"),
        ("2999-01-01", "", "from"),
    ],
)
def test_an_impossible_period_is_refused(from_: str, to: str, field: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_period(from_, to, zone=ZoneInfo("Pacific/Kiritimati"), now=NOW)
    assert [error.field for error in caught.value.errors] == [field]


def test_a_period_with_too_many_points_is_refused() -> None:
    period = _period("UTC", "2024-01-01", "2024-02-02")
    check_length(period, most_days=33, remedy="")
    with pytest.raises(ValidationFailed, match="33 days long, and the most is 32; be brief"):
        check_length(period, most_days=32, remedy="be brief")
