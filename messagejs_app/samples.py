"""Values to try a template with: what a variable of this name most likely is, or else its name."""

from __future__ import annotations

from typing import Final

_KNOWN: Final = {
    "name": "Ada",
    "first_name": "Ada",
    "firstname": "Ada",
    "code": "482913",
    "otp": "482913",
    "date": "Mon 23 Nov",
    "time": "10:40",
    "link": "https://example.com",
    "amount": "48.00",
    "company": "Example Ltd",
}


def sample_of(variable: str) -> str:
    return _KNOWN.get(variable.lower(), variable.replace("_", " "))
