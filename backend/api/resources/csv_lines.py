"""Lines of CSV files that people open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any, Final

# A spreadsheet takes a cell that begins like this for a formula, and runs it; some accept the wide
# forms too. Where the list separator is another character, a cell also begins after that one, and
# after an end of line: the quotes mean nothing there.
_FORMULA: Final = re.compile(
    r"(?:\A|(?<=[;\t\r\n]))(?=[ \u00a0]*[=+\-@\uff1d\uff0b\uff0d\uff20])|\A(?=[\t\r\n])"
)
_NUMBER: Final = re.compile(r"[+-]?[\d .,()/-]{1,40}")


def line_of(cells: Sequence[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def cell_of(value: Any) -> str:
    """Return the value as a cell that no spreadsheet runs: a `'` stands before what would be a
    formula.
    """
    if value is None:
        return ""
    # Not orjson, which refuses numbers of more than 64 bits: rows from before that limit may have
    # them.
    text = (
        json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if isinstance(value, dict)
        else str(value)
    )
    return _FORMULA.sub("'", text)


def own_cell(text: str) -> str:
    """Like `cell_of`, for a table that is uploaded again: a phone number stays as it is."""
    return text if _NUMBER.fullmatch(text) else cell_of(text)
