"""How many SMS segments a text takes, in linear time.

The phone network counts septets or UTF-16 units, not characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

_GSM_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# An escape septet comes before each of these.
_GSM_EXTENDED: Final = frozenset("\f^{}\\[~]|€")
_GSM: Final = _GSM_BASIC | _GSM_EXTENDED
_ESCAPE: Final = "\x1b"
_GSM_SINGLE: Final = 160
_GSM_PART: Final = 153
_UCS_SINGLE: Final = 70
_UCS_PART: Final = 67


@dataclass(frozen=True, slots=True)
class SmsSize:
    """A text's size on the network: `units` are septets (GSM-7) or UTF-16 units (UCS-2)."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    segments: int


def measure(text: str) -> SmsSize:
    """Return encoding, units and billable segments of `text`.

    GSM-7: 160 septets, or 153 per part; UCS-2: 70 or 67 code units. A character of two units is
    never split between parts.
    Source: 3GPP TS 23.038 and 23.040.
    """
    if _GSM.issuperset(text):
        extended = sum(map(text.count, _GSM_EXTENDED))
        return SmsSize(
            "GSM-7", len(text) + extended, _gsm_parts(text, len(text) + extended, extended)
        )
    units = text.encode("utf-16-le", "surrogatepass")
    return SmsSize("UCS-2", len(units) // 2, _ucs_parts(units))


def segment_count(text: str) -> int:
    """Return the number of billable SMS segments (>= 1)."""
    return measure(text).segments


def _gsm_parts(text: str, units: int, extended: int) -> int:
    if units <= _GSM_SINGLE:
        return 1
    if not extended:
        return -(-units // _GSM_PART)
    septets = "".join(
        _ESCAPE + character if character in _GSM_EXTENDED else character for character in text
    )
    parts = start = 0
    while start < units:
        parts += 1
        start += _GSM_PART
        if start < units and septets[start - 1] == _ESCAPE:
            start -= 1
    return parts


def _ucs_parts(units: bytes) -> int:
    length = len(units) // 2
    if length <= _UCS_SINGLE:
        return 1
    parts = start = 0
    while start < length:
        parts += 1
        start += _UCS_PART
        # The high byte of the previous unit: both halves of a surrogate pair stay together.
        if start < length and 0xD8 <= units[2 * start - 1] <= 0xDB:
            start -= 1
    return parts
