"""The instants that the product takes, wherever they come from: the years 2000 to 2199, in UTC.

Postgres and Python hold others, but not the same ones, and arithmetic near the ends of either
fails.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
# The first that is too late.
TOO_LATE: Final = datetime(2200, 1, 1, tzinfo=UTC)
RANGE: Final = "in the years 2000 to 2199 (UTC)"


def is_in_range(instant: datetime) -> bool:
    """Tell whether an aware instant is one that the product takes."""
    return EARLIEST <= instant < TOO_LATE


def within_range(instant: datetime) -> datetime:
    """Return an aware instant in UTC; raises ValueError for one out of range."""
    if not is_in_range(instant):
        raise ValueError(f"must be {RANGE}")
    return instant.astimezone(UTC)
