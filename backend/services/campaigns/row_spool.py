"""The rows of a table on their way into the database: read and judged first, then stored in one go.

Reading takes as long as the file is large, and a transaction that waits for it holds a connection
and locks. So rows are written to a temporary file, as COPY takes them, and the transaction only
passes that on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final, Self
from uuid import UUID

import orjson
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import FieldError, InvalidCsv
from backend.models.session import driver_of
from backend.services.campaigns.csv_file import in_reader

if TYPE_CHECKING:
    from backend.services.campaigns.csv_file import CsvFile, CsvRow
    from backend.services.campaigns.rows import RowError

_COPY: Final = (
    "COPY campaign_rows (campaign_id, line, project_id, cells, state, error_field, error_code,"
    " error_reason) FROM STDIN"
)
_IN_MEMORY_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 18
_NULL: Final = r"\N"
# In COPY's text format these stand for themselves only behind a backslash.
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


class RowSpool:
    """Rows of one campaign; a context manager, since the file must go."""

    def __init__(self, *, campaign_id: UUID, project_id: UUID) -> None:
        self._campaign_id = campaign_id
        self._project_id = project_id
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 (close() is its end)
        self.total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    async def fill(self, file: CsvFile, error_of: Callable[[CsvRow], RowError | None]) -> None:
        """Write every row, with what is wrong with it. Raises InvalidCsv."""
        async for rows in file.steps():
            await in_reader(partial(self._write, rows, error_of))
        if not self.total:
            message = "The file has a header but no rows; add at least one."
            raise InvalidCsv(message, errors=[FieldError("file", InvalidCsv.code, message)])

    def _write(self, rows: Sequence[CsvRow], error_of: Callable[[CsvRow], RowError | None]) -> None:
        self._file.write("".join(self._line(row, error_of(row)) for row in rows).encode())
        self.total += len(rows)

    def _line(self, row: CsvRow, error: RowError | None) -> str:
        reported = (None, None, None) if error is None else (error.field, error.code, error.message)
        state = "pending" if error is None else "failed"
        cells = orjson.dumps(row.cells).decode()
        columns = (
            str(self._campaign_id),
            str(row.line),
            str(self._project_id),
            cells,
            state,
            *reported,
        )
        return (
            "\t".join(_NULL if column is None else column.translate(_ESCAPES) for column in columns)
            + "\n"
        )

    async def store(self, session: AsyncSession) -> None:
        """Write the rows to the session's transaction."""
        self._file.seek(0)
        async with (await driver_of(session)).cursor() as cursor, cursor.copy(_COPY) as copy:
            # Whole lines: a chunk's end may be within a character.
            while lines := await in_reader(lambda: self._file.readlines(_CHUNK_BYTES)):
                await copy.write(b"".join(lines).decode())
