"""A CSV file as rows: UTF-8, a head, and whichever of comma, semicolon and tab it uses. Read in steps, in a thread."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Final, Self, TypeVar

from backend.errors import FieldError, InvalidCsv

ReadT = TypeVar("ReadT")

_DELIMITERS: Final = ",;\t"
_MOST_COLUMNS: Final = 100
_LONGEST_NAME_CHARS: Final = 100
_LONGEST_CELL_CHARS: Final = 32_768
_STEP: Final = 1000


@dataclass(frozen=True, slots=True)
class CsvRow:
    """`line`: where it begins in the file; the head is line 1. As many cells as the head has, blanks trimmed."""

    line: int
    cells: list[str]
    # What keeps it from being a row of this table.
    problem: str | None = None


class CsvFile:
    """An open file. `columns` are the head's names; every method raises InvalidCsv."""

    def __init__(self, file: BinaryIO, *, most_rows: int) -> None:
        self._most_rows = most_rows
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        first = self._guarded(self._text.readline)
        delimiter = max(_DELIMITERS, key=first.count) if first else ","
        self._guarded(lambda: self._text.seek(0))
        # Strict: one forgotten quote would swallow the rest of the file otherwise.
        self._reader = csv.reader(self._text, delimiter=delimiter, strict=True)
        self.columns = self._head()

    @classmethod
    async def open(cls, file: BinaryIO, *, most_rows: int) -> Self:
        return await asyncio.to_thread(cls, file, most_rows=most_rows)

    async def steps(self) -> AsyncIterator[Sequence[CsvRow]]:
        """Yield the rows, some at a time; blank lines are none."""
        rows = self._rows()
        while step := await asyncio.to_thread(lambda: list(islice(rows, _STEP))):
            yield step

    def _head(self) -> list[str]:
        cells = self._next()
        if cells is None or not any(cell.strip() for cell in cells):
            raise _wrong("The file is empty; its first line must name the columns.")
        names = [cell.strip() for cell in cells]
        while names and not names[-1]:
            names.pop()  # spreadsheets write empty columns after the last
        if len(names) > _MOST_COLUMNS:
            raise _wrong(f"The file has {len(names)} columns; {_MOST_COLUMNS} are the most.")
        for place, name in enumerate(names, 1):
            if not name or len(name) > _LONGEST_NAME_CHARS:
                raise _wrong(f"Column {place} needs a name of 1 to {_LONGEST_NAME_CHARS} characters in the first line.")
            if name in names[: place - 1]:
                raise _wrong(f"Two columns are called '{name}'; rename one of them.")
        return names

    def _rows(self) -> Iterator[CsvRow]:
        count, line = 0, self._reader.line_num + 1
        while (cells := self._next()) is not None:
            if any(cell.strip() for cell in cells):
                count += 1
                if count > self._most_rows:
                    raise _wrong(f"The file has more than {self._most_rows:,} rows; send it in parts.")
                yield self._row(line, [cell.strip() for cell in cells])
            line = self._reader.line_num + 1

    def _row(self, line: int, cells: list[str]) -> CsvRow:
        width = len(self.columns)
        problem = None
        if any(cells[width:]):
            problem = (
                f"The row has {len(cells)} cells, the head {width}; put quotes around cells that hold the separator."
            )
        elif any(len(cell) > _LONGEST_CELL_CHARS for cell in cells):
            problem = f"A cell has more than {_LONGEST_CELL_CHARS:,} characters; shorten it."
        elif any("\0" in cell for cell in cells):
            problem = "A cell has a NUL character, which cannot be stored; remove it."
        kept = [cell.replace("\0", "")[:_LONGEST_CELL_CHARS] for cell in cells[:width]]
        return CsvRow(line, kept + [""] * (width - len(kept)), problem)

    def _next(self) -> list[str] | None:
        line = self._reader.line_num + 1
        try:
            return self._guarded(lambda: next(self._reader, None))
        except csv.Error as exc:
            raise _wrong(f"The row that begins in line {line} cannot be read: {exc}. Check its quotes.") from exc

    def _guarded(self, read: Callable[[], ReadT]) -> ReadT:
        try:
            return read()
        except UnicodeDecodeError as exc:
            raise _wrong(
                "The file is not in UTF-8; save it as 'CSV UTF-8' (in Excel: Save as, CSV UTF-8) and upload it again."
            ) from exc


def _wrong(message: str) -> InvalidCsv:
    return InvalidCsv(message, errors=[FieldError("file", InvalidCsv.code, message)])
