"""Lines of CSV files that people open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any, Final

import orjson

# A spreadsheet takes a cell that begins so for a formula, and runs it.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")
_NUMBER: Final = re.compile(r"[+-]?[\d .,()/-]{1,40}")


def line_of(cells: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def cell_of(value: Any) -> str:
    """Return the value as a cell that no spreadsheet runs: what would be a formula begins with `'`."""
    if value is None:
        return ""
    text = orjson.dumps(value).decode() if isinstance(value, dict) else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def own_cell(text: str) -> str:
    """Like `cell_of` for a table that is uploaded again: a phone number stays as it is."""
    return text if _NUMBER.fullmatch(text) else cell_of(text)
