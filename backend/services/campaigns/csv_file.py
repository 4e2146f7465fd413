"""A CSV file as rows: UTF-8, a head, and whichever of comma, semicolon and tab it uses.

Read in steps by one thread, so that however many files come at once, sends share the process with
one of them. What a file may cost is bounded: the characters and cells of a row, rows, and blank
lines.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Final, Self, TextIO, TypeVar

from backend.errors import FieldError, InvalidCsv

ReadT = TypeVar("ReadT")

_DELIMITERS: Final = ",;\t"
_MOST_COLUMNS: Final = 100
_LONGEST_NAME_CHARS: Final = 100
_LONGEST_CELL_CHARS: Final = 32_768
_LONGEST_ROW_CHARS: Final = 1_000_000
# Spreadsheets write empty cells after the last column, and empty rows after the last one.
_MOST_CELLS: Final = 1000
_MOST_BLANK_LINES: Final = 100_000
# What one step has at most; the row that reaches it is its last.
_STEP_ROWS: Final = 1000
_STEP_CHARS: Final = 1_000_000
_READER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="csv")


async def in_reader(run: Callable[[], ReadT]) -> ReadT:
    """Run one step of reading a table, after those that wait already."""
    return await asyncio.get_running_loop().run_in_executor(_READER, run)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """`line`: where it begins in the file; the head is line 1.

    As many cells as the head has, blanks trimmed.
    """

    line: int
    cells: list[str]
    # What keeps it from being a row of this table.
    problem: str | None = None


class _Lines:
    """The file's lines, of which a row has one or, within quotes, several."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self.count = 0
        self.row_line = 1
        self.row_chars = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._text.readline(_LONGEST_ROW_CHARS + 1)
        if not line:
            raise StopIteration
        self.count += 1
        self.row_chars += len(line)
        if self.row_chars > _LONGEST_ROW_CHARS:
            raise _wrong(
                f"The row that begins in line {self.row_line} has more than {_LONGEST_ROW_CHARS:,}"
                " characters; check its quotes and the ends of the lines."
            )
        return line

    def begin_row(self) -> int:
        """Return the line where the next row begins."""
        self.row_line, self.row_chars = self.count + 1, 0
        return self.row_line


class CsvFile:
    """An open file. `columns` are the head's names; every method raises InvalidCsv."""

    def __init__(self, file: BinaryIO, *, most_rows: int) -> None:
        self._most_rows = most_rows
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        first = self._guarded(lambda: text.readline(_LONGEST_ROW_CHARS))
        delimiter = max(_DELIMITERS, key=first.count) if first else ","
        self._guarded(lambda: text.seek(0))
        self._lines = _Lines(text)
        # Strict: one forgotten quote would swallow the rest of the file otherwise.
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        self.columns = self._head()

    @classmethod
    async def open(cls, file: BinaryIO, *, most_rows: int) -> Self:
        return await in_reader(lambda: cls(file, most_rows=most_rows))

    async def steps(self) -> AsyncIterator[Sequence[CsvRow]]:
        """Yield the rows, some at a time; blank lines are none."""
        rows = self._rows()
        while step := await in_reader(lambda: self._step(rows)):
            yield step

    def _step(self, rows: Iterator[CsvRow]) -> list[CsvRow]:
        step: list[CsvRow] = []
        chars = 0
        for row in rows:
            step.append(row)
            chars += self._lines.row_chars
            if len(step) == _STEP_ROWS or chars >= _STEP_CHARS:
                break
        return step

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
                raise _wrong(
                    f"Column {place} needs a name of 1 to {_LONGEST_NAME_CHARS} characters in the"
                    " first line."
                )
            if name in names[: place - 1]:
                raise _wrong(f"Two columns are called '{name}'; rename one of them.")
        return names

    def _rows(self) -> Iterator[CsvRow]:
        count = blank = 0
        while (cells := self._next()) is not None:
            if "".join(cells).strip():
                count += 1
                if count > self._most_rows:
                    raise _wrong(
                        f"The file has more than {self._most_rows:,} rows; send it in parts."
                    )
                yield self._row(self._lines.row_line, cells)
                continue
            blank += 1
            if blank > _MOST_BLANK_LINES:
                raise _wrong(
                    f"The file has more than {_MOST_BLANK_LINES:,} blank lines, up to line"
                    f" {self._lines.row_line}; remove them."
                )

    def _row(self, line: int, result: list[str]) -> CsvRow:
        width = len(self.columns)
        cells = [cell.strip() for cell in result[:width]]
        problem = None
        if "".join(result[width:]).strip():
            problem = (
                f"The row has {len(result)} cells, the head {width}; put quotes around cells that"
                " hold the separator."
            )
        elif any(len(cell) > _LONGEST_CELL_CHARS for cell in cells):
            problem = f"A cell has more than {_LONGEST_CELL_CHARS:,} characters; shorten it."
        elif any("\0" in cell for cell in cells):
            problem = "A cell has a NUL character, which cannot be stored; remove it."
        kept = [cell.replace("\0", "")[:_LONGEST_CELL_CHARS] for cell in cells[:width]]
        return CsvRow(line, kept + [""] * (width - len(kept)), problem)

    def _next(self) -> list[str] | None:
        line = self._lines.begin_row()
        try:
            cells = self._guarded(lambda: next(self._reader, None))
        except csv.Error as exc:
            raise _wrong(
                f"The row that begins in line {line} cannot be read: {exc}. Check its quotes."
            ) from exc
        if cells is not None and len(cells) > _MOST_CELLS:
            raise _wrong(
                f"The row in line {line} has {len(cells):,} cells; a file may have at most"
                f" {_MOST_COLUMNS}."
            )
        return cells

    def _guarded(self, read: Callable[[], ReadT]) -> ReadT:
        try:
            return read()
        except UnicodeDecodeError as exc:
            raise _wrong(
                "The file is not in UTF-8; save it as 'CSV UTF-8' (in Excel: Save as, CSV UTF-8)"
                " and upload it again."
            ) from exc


def _wrong(message: str) -> InvalidCsv:
    return InvalidCsv(message, errors=[FieldError("file", InvalidCsv.code, message)])
