"""The `from` and `to` of a list, as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from backend.errors import FieldError, ValidationFailed
from backend.instants import RANGE, is_in_range

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_DAY: Final = timedelta(days=1)
_MS: Final = timedelta(milliseconds=1)


def parse_instant(text: str, *, field: str, end_of_day: bool = False) -> datetime:
    """Return an ISO 8601 date or date-time as an instant in UTC; without a zone it is taken as UTC.

    `end_of_day`: a date alone means its last millisecond. Raises ValidationFailed naming `field`,
    also for an instant out of range.
    """
    # A "+" in a query string that was not escaped arrives as a space.
    written = re.sub(r" (?=\d{2}:?\d{2}$)", "+", text.strip()) if "T" in text else text.strip()
    try:
        instant = datetime.fromisoformat(written)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        if not is_in_range(instant):
            message = f"'{text[:40]}' is out of range; write an instant {RANGE}."
            raise ValidationFailed(errors=[FieldError(field, "VALIDATION_ERROR", message)])
        instant = instant.astimezone(UTC)
        return instant + _DAY - _MS if end_of_day and _DATE.fullmatch(written) else instant
    except (ValueError, OverflowError) as exc:
        raise ValidationFailed(
            errors=[
                FieldError(
                    field,
                    "VALIDATION_ERROR",
                    f"'{text[:40]}' is not an ISO 8601 date or time; write 2024-01-31 or"
                    " 2024-01-31T10:00:00Z.",
                )
            ]
        ) from exc
