"""Whole numbers that people and other servers write as text, parsed without surprises."""

from __future__ import annotations

from typing import Final

# Far below 64 bits, and far above anything that is counted here.
_MOST_DIGITS: Final = 15


def whole_number(text: str) -> int | None:
    """Return the number of ASCII digits, 0 to 10¹⁵ - 1; None for anything else: '', '²', '-1',
    '1e3', '1' * 5000.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_number else None
