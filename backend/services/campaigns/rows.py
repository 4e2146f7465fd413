"""The rows of a campaign, changed or counted all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import class_row

from backend.models.recordset import recordset


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row cannot be sent; `row` is its line in the file."""

    row: int
    field: str
    code: str
    message: str


# `states`: the campaign's. Pausing and canceling wait for the lock on its row.
_REFUSE: Final = f"""
WITH open AS MATERIALIZED (
    SELECT id FROM campaigns WHERE id = %(campaign)s AND state = ANY(%(states)s) FOR SHARE
)
UPDATE campaign_rows r SET state = 'failed', error_field = e.field, error_code = e.code,
    error_reason = e.message
FROM open, {recordset(RowError, "e", "errors")}
WHERE r.campaign_id = open.id AND r.line = e.row AND r.state = 'pending'
"""  # noqa: S608 (made of constants)
_COUNT: Final = """
SELECT count(*) FILTER (WHERE state = 'accepted') AS accepted,
    count(*) FILTER (WHERE state = 'failed') AS failed
FROM campaign_rows WHERE campaign_id = %(campaign)s
"""


@dataclass(frozen=True, slots=True)
class EndedRows:
    accepted: int
    failed: int


async def refuse_rows(
    connection: psycopg.AsyncConnection[Any],
    campaign_id: UUID,
    errors: Sequence[RowError],
    *,
    states: Sequence[str],
) -> None:
    """Mark rows as failed, each with its error, while the campaign is in one of `states`."""
    if errors:
        values = {
            "campaign": campaign_id,
            "states": list(states),
            "errors": orjson.dumps(list(errors)).decode(),
        }
        await connection.execute(_REFUSE, values)


async def count_rows(connection: psycopg.AsyncConnection[Any], campaign_id: UUID) -> EndedRows:
    cursor = connection.cursor(row_factory=class_row(EndedRows))
    await cursor.execute(_COUNT, {"campaign": campaign_id})
    return await cursor.fetchone() or EndedRows(0, 0)
