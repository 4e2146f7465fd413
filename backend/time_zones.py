"""Time zones, as people and programs name them."""

from __future__ import annotations

from contextlib import suppress
from typing import Final
from zoneinfo import ZoneInfo

from backend.errors import FieldError, ValidationFailed

# Files among the zones that mean something else on every machine.
_OF_THE_MACHINE: Final = frozenset({"localtime", "posixrules", "Factory"})


def parse_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone; raises ValidationFailed naming `timezone`."""
    if name not in _OF_THE_MACHINE:
        with suppress(KeyError, ValueError, OSError):
            return ZoneInfo(name)
    message = (
        f"'{name[:60]}' is not an IANA time zone; write one such as Europe/Berlin, Asia/Kolkata"
        " or UTC."
    )
    raise ValidationFailed(errors=[FieldError("timezone", "VALIDATION_ERROR", message)])
