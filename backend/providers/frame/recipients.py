"""Recipient shapes that more than one channel shares."""

from __future__ import annotations

import re
from typing import Final

from backend.providers.frame.errors import InvalidRecipient

_PHONE: Final = re.compile(r"\+?([1-9][0-9]{6,14})")


def phone_number(to: str) -> str:
    """Return `to` in E.164 with its plus sign; raises InvalidRecipient."""
    match = _PHONE.fullmatch(to.strip())
    if match is None:
        raise InvalidRecipient(
            f"'{to[:40]}' is not a phone number; write it with country code and digits only, like"
            " '+14155550123'."
        )
    return f"+{match[1]}"
