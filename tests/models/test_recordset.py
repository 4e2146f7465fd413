"""The columns that a statement reads from JSON are those of the dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import pytest

from backend.models.recordset import JSONB, SMALLINT, columns, names, recordset


@dataclass(frozen=True)
class _Row:
    id: UUID
    lane: Annotated[int, SMALLINT]
    content: Annotated[dict[str, Any], JSONB]
    due_at: datetime | None
    reason: str | None = None


@dataclass(frozen=True)
class _Untyped:
    parts: list[str]


def test_every_field_is_a_column_with_its_type() -> None:
    assert columns(_Row) == (
        "id uuid, lane smallint, content jsonb, due_at timestamptz, reason text"
    )
    assert names(_Row) == "id, lane, content, due_at, reason"
    assert recordset(_Row, "r") == (f"json_to_recordset(%(rows)s::json) AS r({columns(_Row)})")


def test_a_field_that_says_no_postgres_type_is_refused() -> None:
    with pytest.raises(TypeError, match="parts"):
        columns(_Untyped)
