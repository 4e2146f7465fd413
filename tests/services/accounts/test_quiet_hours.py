"""Quiet hours: nothing is sent while the recipient's clock shows them, and nothing waits longer
than that.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.services.accounts.quiet_hours import QuietHours, zone_of_phone

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(21), time(8))


def berlin(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-06-01T20:59:59", None),
        ("2026-06-01T21:00:00", "2026-06-02T08:00:00"),
        ("2026-06-01T23:59:59", "2026-06-02T08:00:00"),
        ("2026-06-02T00:00:00", "2026-06-02T08:00:00"),
        ("2026-06-02T07:59:59", "2026-06-02T08:00:00"),
        ("2026-06-02T08:00:00", None),
        # The nights when the clock is put forward (an hour shorter) and back (an hour longer).
        ("2026-03-28T22:00:00", "2026-03-29T08:00:00"),
        ("2026-10-24T22:00:00", "2026-10-25T08:00:00"),
    ],
)
def test_the_night_ends_at_eight_on_the_recipients_clock(at: str, until: str | None) -> None:
    assert NIGHT.over_at(berlin(at), BERLIN) == (berlin(until) if until is not None else None)


def test_the_shortest_and_the_longest_night_are_an_hour_off() -> None:
    spring, autumn = berlin("2026-03-28T21:00"), berlin("2026-10-24T21:00")
    lengths = [NIGHT.over_at(at, BERLIN) - at for at in (spring, autumn)]  # type: ignore[operator]
    assert lengths == [timedelta(hours=10), timedelta(hours=12)]


def test_an_end_that_the_clock_skips_is_the_moment_when_it_does() -> None:
    """On 2026-03-29 at 02:00 it is put to 03:00: 02:30 is never shown."""
    quiet = QuietHours(time(21), time(2, 30))
    assert quiet.over_at(berlin("2026-03-29T01:10"), BERLIN) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert quiet.over_at(berlin("2026-03-29T03:00"), BERLIN) is None


def test_an_end_that_the_clock_shows_twice_is_the_next_one() -> None:
    """On 2026-10-25 at 03:00 it is put to 02:00: 02:30 is 00:30 and 01:30 UTC."""
    quiet = QuietHours(time(21), time(2, 30))
    assert quiet.over_at(berlin("2026-10-25T02:10"), BERLIN) == datetime(
        2026, 10, 25, 0, 30, tzinfo=UTC
    )
    assert quiet.over_at(berlin("2026-10-25T02:10", fold=1), BERLIN) == datetime(
        2026, 10, 25, 1, 30, tzinfo=UTC
    )


def test_a_siesta_lies_within_one_day() -> None:
    siesta = QuietHours(time(13), time(15))
    assert siesta.over_at(berlin("2026-06-01T14:00"), BERLIN) == berlin("2026-06-01T15:00")
    assert siesta.over_at(berlin("2026-06-01T15:00"), BERLIN) is None
    assert siesta.over_at(berlin("2026-06-01T12:59"), BERLIN) is None


@given(
    at=st.integers(0, 3 * 366 * 86_400).map(
        lambda seconds: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    ),
    start=st.times(),
    end=st.times(),
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
    ),
)
def test_the_end_is_soon_and_not_quiet(at: datetime, start: time, end: time, zone: str) -> None:
    quiet = QuietHours(start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0))
    if quiet.start == quiet.end:
        return
    until = quiet.over_at(at, ZoneInfo(zone))
    if until is not None:
        assert at < until <= at + timedelta(hours=25)
        assert quiet.over_at(until, ZoneInfo(zone)) is None


@pytest.mark.parametrize(
    ("number", "zone"),
    [
        ("+4915112345678", "Europe/Berlin"),
        ("4915112345678", "Europe/Berlin"),
        ("+12125550100", "America/New_York"),
        ("+61412345678", None),  # a mobile of Australia, which has several zones
        ("+883510000000", None),  # of no country
        ("ada", None),
        ("", None),
    ],
)
def test_a_number_tells_its_zone_when_it_has_one(number: str, zone: str | None) -> None:
    assert zone_of_phone(number) == (ZoneInfo(zone) if zone is not None else None)


def test_what_the_sender_says_goes_before_the_number_and_that_before_the_project() -> None:
    quiet = QuietHours(time(21), time(8), ZoneInfo("Asia/Tokyo"))
    noon = datetime(
        2026, 6, 1, 12, tzinfo=UTC
    )  # 21:00 in Tokyo, 14:00 in Berlin, 08:00 in New York
    assert quiet.over_for(noon, timezone=None, phones=[]) == datetime(2026, 6, 1, 23, tzinfo=UTC)
    assert quiet.over_for(noon, timezone=None, phones=["+61412345678", "+4915112345678"]) is None
    night = noon + timedelta(hours=8)  # 22:00 in Berlin, 16:00 in New York
    assert quiet.over_for(night, timezone=None, phones=["+4915112345678"]) == datetime(
        2026, 6, 2, 6, tzinfo=UTC
    )
    assert quiet.over_for(night, timezone="America/New_York", phones=["+4915112345678"]) is None


def test_a_project_without_them_has_none() -> None:
    assert QuietHours.of(None) is None
    stored = QuietHours.of({"start": "21:00", "end": "08:00", "timezone": None})
    assert stored == NIGHT
