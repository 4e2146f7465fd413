"""The instants that the product accepts, wherever they come from: the years 2000 to 2199, in UTC.

Postgres and Python accept more, but not the same ones, and arithmetic fails near the ends of
either.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
# The first instant that is too late.
TOO_LATE: Final = datetime(2200, 1, 1, tzinfo=UTC)
RANGE: Final = "in the years 2000 to 2199 (UTC)"


def is_in_range(instant: datetime) -> bool:
    """Whether the product accepts this aware instant."""
    return EARLIEST <= instant < TOO_LATE


def within_range(instant: datetime) -> datetime:
    """Return an aware instant in UTC; raises ValueError for one out of range."""
    if not is_in_range(instant):
        raise ValueError(f"must be {RANGE}")
    return instant.astimezone(UTC)
