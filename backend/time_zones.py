"""Time zones, as people and programs name them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from backend.errors import FieldError, ValidationFailed


def parse_zone(name: str) -> ZoneInfo:
    """Return the IANA time zone; raises ValidationFailed naming `timezone`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        message = (
            f"'{name[:60]}' is not an IANA time zone; write one such as Europe/Berlin, Asia/Kolkata"
            " or UTC."
        )
        raise ValidationFailed(
            errors=[FieldError("timezone", "VALIDATION_ERROR", message)]
        ) from exc
