"""What a Liquid text may cost, to read and to render, and the errors that say so.

Fuel is counted, never timed: the same text and values cost the same on every machine. A unit is at
most about 1.6 microseconds on a small server, so a rendering that uses all its fuel ends within
80 ms.
"""

from __future__ import annotations

from typing import Final

# Reading a text. "Markup" is an output or a tag; each line of {% liquid %} counts as one.
MARKUP_LIMIT: Final = 500
MARKUP_CHARS: Final = 1_000
MARKUP_CHARS_TOGETHER: Final = 12_000
BRACKETS_LIMIT: Final = 16
OPERATORS_LIMIT: Final = 40
BLANKS_LIMIT: Final = 100
DEPTH_LIMIT: Final = 20

# Rendering it.
FUEL_LIMIT: Final = 25_000
OUTPUT_LIMIT_BYTES: Final = 256 * 1024
LOOP_LIMIT: Final = 2_000
RANGE_LIMIT: Final = 2_000
RANGE_BOUND: Final = 10**9
INTEGER_LIMIT: Final = 10**18
DATE_CHARS: Final = 100

# A unit of fuel pays for 2 ** CHARS_SHIFT characters read or written; an item of a list counts as
# ITEM_CHARS of them.
CHARS_SHIFT: Final = 6
ITEM_CHARS: Final = 16

_REASON_CHARS: Final = 200


class TemplateSyntaxError(Exception):
    """The text is not valid Liquid, or exceeds a limit for reading it. `line` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        self.reason = shortened(reason)
        self.line = line
        super().__init__(f"line {line}: {self.reason}")


class TemplateRenderError(Exception):
    """Valid Liquid that can't be rendered with these values, or that exceeds a limit."""

    def __init__(self, reason: str) -> None:
        super().__init__(shortened(reason))


class OutOfFuel(TemplateRenderError):
    """The rendering took more steps than it may."""

    def __init__(self) -> None:
        super().__init__(
            f"it takes more than {FUEL_LIMIT} steps; use fewer or shorter loops, filters and values"
        )


def shortened(reason: str) -> str:
    """Cut a reason short: it may quote a value, and values may be long."""
    return reason if len(reason) <= _REASON_CHARS else f"{reason[: _REASON_CHARS - 1]}…"
