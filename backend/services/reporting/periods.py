"""Stretches of time that analytics count: a period, its hours and days in a time zone, and their
pieces.

Everything begins and ends on a full quarter hour, because every zone's hours and days do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from backend.errors import FieldError, ValidationFailed
from backend.services.reporting.instants import parse_instant

QUARTER: Final = timedelta(minutes=15)
_HOUR: Final = timedelta(hours=1)
# What counters are kept by, in minutes; the coarsest first.
GRAINS: Final = (1440, 60, 15)
DEFAULT_DAYS: Final = 30
# The most points a series has: about three years of days, a month of hours.
MOST_DAYS: Final = 1100
MOST_HOUR_DAYS: Final = 32
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Span:
    """`start` <= instant < `end`, both on a full quarter hour."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def full_hours(self) -> Span:
        """Return the hours (UTC) that the span touches."""
        return Span(
            _EPOCH + (self.start - _EPOCH) // _HOUR * _HOUR,
            _EPOCH - (_EPOCH - self.end) // _HOUR * _HOUR,
        )

    def pieces(self) -> Iterator[tuple[int, datetime, datetime]]:
        """Yield (grain, start, end) that make up the span exactly, each as coarse as it can be: at
        most five.
        """
        yield from _pieces(self.start, self.end, GRAINS)


@dataclass(frozen=True, slots=True)
class Period:
    """What a report covers, in the zone of its reader."""

    span: Span
    zone: ZoneInfo

    @property
    def last(self) -> datetime:
        """The last millisecond, as reference 002 writes `to`."""
        return self.span.end - timedelta(milliseconds=1)

    def days(self) -> list[tuple[date, Span]]:
        """Return the zone's days within the period; the first and last may be partial."""
        days: list[tuple[date, Span]] = []
        start = self.span.start
        while start < self.span.end:
            day = start.astimezone(self.zone).date()
            end = min(_next_midnight(day, start, self.zone), self.span.end)
            days.append((day, Span(start, end)))
            start = end
        return days

    def hours(self) -> list[Span]:
        """Return the zone's clock hours within the period, each begun where the clock shows a full
        hour.
        """
        hours: list[Span] = []
        start = self.span.start
        while start < self.span.end:
            rest = timedelta(minutes=60 - start.astimezone(self.zone).minute)
            end = min(floor_quarter(start + rest), self.span.end)
            hours.append(Span(start, end))
            start = end
        return hours


def _pieces(
    start: datetime, end: datetime, grains: tuple[int, ...]
) -> Iterator[tuple[int, datetime, datetime]]:
    if start >= end or not grains:
        return
    width = timedelta(minutes=grains[0])
    first = _EPOCH - (_EPOCH - start) // width * width
    last = _EPOCH + (end - _EPOCH) // width * width
    if first >= last:
        yield from _pieces(start, end, grains[1:])
        return
    yield from _pieces(start, first, grains[1:])
    yield grains[0], first, last
    yield from _pieces(last, end, grains[1:])


def floor_quarter(instant: datetime) -> datetime:
    return _EPOCH + (instant - _EPOCH) // QUARTER * QUARTER


def ceil_quarter(instant: datetime) -> datetime:
    return _EPOCH - (_EPOCH - instant) // QUARTER * QUARTER


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return when the day begins: where clocks skip midnight, the moment they do."""
    return floor_quarter(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))


def _next_midnight(day: date, after: datetime, zone: ZoneInfo) -> datetime:
    """A few zones skipped a whole day once: it has no length and no place of its own."""
    following = day + timedelta(days=1)
    while (start := midnight(following, zone)) <= after:
        following += timedelta(days=1)
    return start


def parse_period(
    from_: str | None,
    to: str | None,
    *,
    zone: ZoneInfo,
    now: datetime,
    names: tuple[str, str] = ("from", "to"),
) -> Period:
    """Return what `from` and `to` mean in `zone`; without them, the last 30 days with today.

    A date is a whole day of the zone. A date-time is rounded outwards to a full quarter hour.
    Raises ValidationFailed; `names` are what the client calls the two.
    """
    end = _end(to, names[1], zone) if to else ceil_quarter(now)
    last_day = (end - timedelta(milliseconds=1)).astimezone(zone).date()
    start = (
        _start(from_, names[0], zone)
        if from_
        else midnight(last_day - timedelta(days=DEFAULT_DAYS - 1), zone)
    )
    if start > end:
        message = (
            f"'{names[0]}' ({(from_ or '')[:40]}) is after '{names[1]}' ({(to or 'now')[:40]});"
            " swap them."
        )
        raise ValidationFailed(errors=[FieldError(names[0], "VALIDATION_ERROR", message)])
    return Period(Span(start, max(end, start + QUARTER)), zone)


def check_length(period: Period, *, most_days: int, remedy: str) -> None:
    """Raises ValidationFailed when the period has more than `most_days` days."""
    days = (period.span.end - period.span.start) / timedelta(days=1)
    if days > most_days:
        message = f"The period is {days:.0f} days long, and the most is {most_days}; {remedy}."
        raise ValidationFailed(errors=[FieldError("from", "VALIDATION_ERROR", message)])


def _start(text: str, field: str, zone: ZoneInfo) -> datetime:
    instant = parse_instant(text, field=field)
    return midnight(instant.date(), zone) if _is_date(text) else floor_quarter(instant)


def _end(text: str, field: str, zone: ZoneInfo) -> datetime:
    instant = parse_instant(text, field=field)
    return (
        midnight(instant.date() + timedelta(days=1), zone)
        if _is_date(text)
        else ceil_quarter(instant)
    )


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text.strip()) is not None
