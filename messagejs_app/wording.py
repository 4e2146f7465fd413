"""Numbers, times and recipients as the dashboard writes them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import phonenumbers

# In this order: each of these names the ones after it as well.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_PROGRAM_LIMIT: Final = 40


def number(value: int) -> str:
    return f"{value:,}"


def percent(part: int, whole: int) -> str:
    """97.4 %, or a dash when there is nothing to divide by."""
    return f"{100 * part / whole:.1f} %" if whole else "—"


def duration(milliseconds: float | None) -> str:
    """318 ms, 1.18 s, 2.5 min."""
    if milliseconds is None:
        return "—"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds / 60_000:.1f} min"


def instant(at: datetime | None) -> str:
    """ISO 8601 for <mj-time>, which shows it in the viewer's zone; "" for none."""
    return at.isoformat() if at is not None else ""


def recipient(text: str) -> str:
    """A phone number in groups, everything else as it is."""
    if not text.startswith("+"):
        return text
    try:
        parsed = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return text
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def plural(count: int, singular: str, many: str | None = None) -> str:
    return f"{number(count)} {singular if count == 1 else many or singular + 's'}"


def device(user_agent: str) -> str:
    """ "Firefox on Windows"; a program by its own name; what says nothing is unknown."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if not user_agent.startswith("Mozilla/"):
        return user_agent.partition(" ")[0][:_PROGRAM_LIMIT] or "Unknown"
    return " on ".join(filter(None, (browser, system))) or "Unknown browser"
