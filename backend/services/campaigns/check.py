"""A dry run: every row goes through what a real send goes through, and nothing is written."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from backend.errors import AppError, RecipientSuppressed
from backend.models import Suppression
from backend.process.unexpected import as_app_error
from backend.services.campaigns.csv_file import CsvRow
from backend.services.campaigns.rows import RowError
from backend.services.sending.compose import prepare_message
from backend.services.templates.liquid.fuel import RenderingLimitExceeded

if TYPE_CHECKING:
    from backend.ledger.accept import NewMessage
    from backend.services.campaigns.plan import Plan
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender

MOST_ERRORS: Final = 100
_PREVIEWS: Final = 3
_PREVIEW_CHARS: Final = 20_000
# Rows between two looks at what else the process has to do: some 10 ms.
_BREATH: Final = 50
DUPLICATE: Final = "DUPLICATE_RECIPIENT"
BAD_ROW: Final = "INVALID_ROW"


@dataclass(frozen=True, slots=True)
class Preview:
    row: int
    to: str
    content: dict[str, Any]


@dataclass(slots=True)
class DryRun:
    """`errors` are the first ones; `codes` counts the rows of each kind of error."""

    columns: Sequence[str]
    mapping: dict[str, str]
    total: int = 0
    valid: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    errors: list[RowError] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)
    _shown_chars: int = 0

    @property
    def invalid(self) -> int:
        return self.total - self.valid

    def refuse(self, *errors: RowError) -> None:
        """Note what is wrong with one row."""
        self.codes[errors[0].code] += 1
        self.errors += errors[: MOST_ERRORS - len(self.errors)]

    def show(self, preview: Preview) -> None:
        """Keep the first messages: one at least, and more as long as they are short."""
        size = sum(len(str(part)) for part in preview.content.values())
        if not self.previews or (
            len(self.previews) < _PREVIEWS and self._shown_chars + size <= _PREVIEW_CHARS
        ):
            self.previews.append(Preview(preview.row, preview.to, preview.content))
            self._shown_chars += size


async def dry_run(
    path: SendPath,
    sender: Sender,
    plan: Plan,
    steps: AsyncIterator[Sequence[CsvRow]],
    *,
    sends_duplicates: bool,
) -> DryRun:
    """Raises what is wrong with all of it: InvalidCsv, the mapping, the content or the
    connector.
    """
    await plan.check(path, sender)
    plan = replace(plan, project_id=sender.project_id)
    result = DryRun(plan.columns, dict(plan.mapping))
    seen: set[str] = set()
    async for rows in steps:
        ready = []
        for place, row in enumerate(rows):
            if place % _BREATH == 0:
                await asyncio.sleep(0)
            prepared = await _prepared(path, sender, plan, row, result)
            if prepared is None:
                continue
            if not sends_duplicates and prepared.to in seen:
                result.refuse(duplicate(row.line, prepared.to))
                continue
            seen.add(prepared.to)
            ready.append(prepared)
        await _settle(path, sender, ready, result)
    result.errors.sort(key=lambda error: error.row)
    return result


@dataclass(frozen=True, slots=True)
class _Prepared(Preview):
    channel: str


async def _prepared(
    path: SendPath, sender: Sender, plan: Plan, row: CsvRow, result: DryRun
) -> _Prepared | None:
    result.total += 1
    if row.problem is not None:
        result.refuse(RowError(row.line, "", BAD_ROW, row.problem))
        return None
    try:
        message = await _message(path, sender, plan, row)
    except Exception as exc:  # noqa: BLE001 (whatever it is, it is this row's)
        result.refuse(*errors_of(row.line, as_app_error(exc)))
        return None
    columns = message.columns
    return _Prepared(row.line, columns["recipient"], columns["content"], columns["connector_type"])


async def _message(path: SendPath, sender: Sender, plan: Plan, row: CsvRow) -> NewMessage:
    """Return what the row would send.

    A dry run goes as fast as the project may render, like the campaign itself.
    """
    while True:
        try:
            return await prepare_message(path, sender, plan.request(row.cells), None)
        except RenderingLimitExceeded as error:
            await asyncio.sleep(float(error.headers["Retry-After"]))


async def _settle(
    path: SendPath, sender: Sender, ready: Sequence[_Prepared], result: DryRun
) -> None:
    if not ready:
        return
    async with path.database.session() as session:
        suppressed = await Suppression.find_many(
            session, sender.project_id, {(item.channel, item.to) for item in ready}
        )
    for item in ready:
        if (item.channel, item.to) in suppressed:
            result.refuse(*errors_of(item.row, RecipientSuppressed()))
            continue
        result.valid += 1
        result.show(item)


def errors_of(line: int, error: AppError) -> list[RowError]:
    """Return what the API would say about a send, as what is wrong with a row."""
    if isinstance(error, RecipientSuppressed):
        return [RowError(line, "to", error.error_code, "The recipient opted out or bounced.")]
    if not error.errors:
        return [RowError(line, "", error.error_code, error.message)]
    return [RowError(line, item.field, item.code, item.message) for item in error.errors]


def duplicate(line: int, to: str) -> RowError:
    return RowError(
        line,
        "to",
        DUPLICATE,
        f"'{to[:100]}' is already in an earlier row; each recipient gets one message.",
    )
