"""How many SMS a text costs. The phone network counts septets or UTF-16 units, not characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

_GSM_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# An escape septet comes before each of these.
_GSM_EXTENDED: Final = frozenset("\f^{}\\[~]|€")


@dataclass(frozen=True, slots=True)
class SmsSize:
    """What the network makes of a text: `units` are septets (GSM-7) or UTF-16 units (UCS-2)."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    segments: int


def measure(text: str) -> SmsSize:
    """Return encoding, units and billable segments of `text`.

    GSM-7: 160 septets, or 153 per part; UCS-2: 70 or 67 code units. A character of two units is
    never split between parts.
    Source: 3GPP TS 23.038 and 23.040.
    """
    is_gsm = all(character in _GSM_BASIC or character in _GSM_EXTENDED for character in text)
    if is_gsm:
        widths = [2 if character in _GSM_EXTENDED else 1 for character in text]
        return SmsSize("GSM-7", sum(widths), _parts(widths, single=160, part=153))
    widths = [2 if character > "\uffff" else 1 for character in text]
    return SmsSize("UCS-2", sum(widths), _parts(widths, single=70, part=67))


def segment_count(text: str) -> int:
    """Return the number of billable SMS segments (>= 1)."""
    return measure(text).segments


def _parts(widths: list[int], *, single: int, part: int) -> int:
    if sum(widths) <= single:
        return 1
    parts, used = 1, 0
    for width in widths:
        if used + width > part:
            parts, used = parts + 1, 0
        used += width
    return parts
