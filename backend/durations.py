"""Durations as people write them in settings: `15m`, `7d`, or plain seconds."""

from __future__ import annotations

import re
from typing import Final

_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PATTERN: Final = re.compile(r"\s*(\d{1,12})\s*([smhdw]?)\s*", re.ASCII)


def parse_duration_s(value: object) -> int:
    """Return whole seconds (> 0) of `15m`, `7d`, `3600` or 3600; raises ValueError with the
    remedy.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    else:
        match = _PATTERN.fullmatch(str(value))
        if match is None:
            raise ValueError(
                f"'{value}' is not a duration; write seconds or a number with s, m, h, d or w"
                " ('15m')"
            )
        seconds = int(match[1]) * _UNIT_S[match[2] or "s"]
    if seconds <= 0:
        raise ValueError(f"'{value}' is not a duration; it must be longer than zero")
    return seconds
