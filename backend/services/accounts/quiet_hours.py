"""When a project does not send.

What falls into its quiet hours waits for their end, in the recipient's zone.

A moment is quiet when the wall clock there shows a time from `start` to before `end`. No database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from phonenumbers import NumberParseException, parse
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number

from backend.errors import FieldError, ValidationFailed
from backend.time_zones import parse_zone

# One-time codes do not wait.
EXEMPT_PRIORITY: Final = "high"
_UTC: Final = ZoneInfo("UTC")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """`zone`: of recipients whose own is not known.

    Past midnight where `end` is not after `start`.
    """

    start: time
    end: time
    zone: ZoneInfo = _UTC

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """Read {start, end, timezone} as a project has it."""
        if stored is None:
            return None
        zone = ZoneInfo(stored["timezone"]) if stored.get("timezone") else _UTC
        return cls(time.fromisoformat(stored["start"]), time.fromisoformat(stored["end"]), zone)

    def over_at(self, at: datetime, zone: ZoneInfo) -> datetime | None:
        """Return when it is not quiet any more in `zone`, None when it is not quiet at `at`."""
        local = at.astimezone(zone)
        clock = local.time()
        if self.start < self.end:
            is_quiet, days = self.start <= clock < self.end, 0
        else:
            is_quiet, days = clock >= self.start or clock < self.end, int(clock >= self.end)
        if not is_quiet:
            return None
        end = datetime.combine(local.date() + timedelta(days=days), self.end, tzinfo=zone)
        return _first_after(end, at)

    def over_for(
        self, at: datetime, *, timezone: str | None, phones: Iterable[str]
    ) -> datetime | None:
        """As `over_at`, where the recipient is: as the sender says, as a phone number tells, or as
        the project says.
        """
        zone = (
            ZoneInfo(timezone)
            if timezone is not None
            else next(filter(None, map(zone_of_phone, phones)), self.zone)
        )
        return self.over_at(at, zone)


def check_quiet_hours(written: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return {start, end, timezone} as a project keeps it.

    Raises ValidationFailed, which names the fields.
    """
    errors = [
        FieldError(
            name,
            "VALIDATION_ERROR",
            f"'{name}' is no time of the day; write hours and minutes, such as 21:30.",
        )
        for name in ("start", "end")
        if not _CLOCK.fullmatch(written.get(name) or "")
    ]
    timezone = written.get("timezone")
    if timezone is not None:
        try:
            parse_zone(timezone)
        except ValidationFailed as exc:
            errors += exc.errors
    if not errors and written["start"] == written["end"]:
        message = "'end' must lie apart from 'start'; a whole day cannot be quiet."
        errors.append(FieldError("end", "VALIDATION_ERROR", message))
    if errors:
        raise ValidationFailed(errors=errors)
    return {"start": written["start"], "end": written["end"], "timezone": timezone}


@lru_cache(maxsize=4096)
def zone_of_phone(number: str) -> ZoneInfo | None:
    """Return the time zone of an international number, None when it has several or is none."""
    try:
        zones = time_zones_for_number(parse("+" + number.removeprefix("+")))
    except NumberParseException:
        return None
    return ZoneInfo(zones[0]) if len(zones) == 1 and zones[0] != UNKNOWN_TIMEZONE else None


def _first_after(end: datetime, at: datetime) -> datetime:
    """Return the first instant after `at` at which the clock shows `end`, or is put forward past
    it.
    """
    before, after = (end.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if after < before:
        return _transition(after, before, end)
    # The clock shows it twice when it is put back: someone who waits since the first time waits for
    # the second.
    return before if before > at else after


def _transition(low: datetime, high: datetime, end: datetime) -> datetime:
    """Return when the clock is put forward past `end`, between two instants of UTC, to the
    second.
    """
    zone = end.tzinfo
    expected = end.replace(tzinfo=None)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).replace(tzinfo=None) < expected:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)
