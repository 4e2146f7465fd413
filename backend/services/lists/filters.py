"""Which rows of a project's list are selection: what keys, connectors and templates are searched
by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlmodel import col, select

from backend.models import ApiKey, Connector, Template


@dataclass(frozen=True, slots=True)
class Selection:
    """None: any. `q` is a part of the name, in either case; keys have no connector type."""

    q: str | None = None
    is_active: bool | None = None
    connector_type: str | None = None


EVERYTHING: Final = Selection()


def select_wanted(
    model: type[ApiKey] | type[Connector] | type[Template],
    project_id: UUID,
    selection: Selection,
    *,
    type_column: Any = None,
) -> Any:
    """Return the select of a project's rows that are selection, without the deleted ones."""
    query = select(model).where(
        col(model.project_id) == project_id, col(model.deleted_at).is_(None)
    )
    if selection.q:
        query = query.where(col(model.name).icontains(selection.q, autoescape=True))
    if selection.is_active is not None:
        query = query.where(col(model.is_active) == selection.is_active)
    if selection.connector_type is not None and type_column is not None:
        query = query.where(type_column == selection.connector_type)
    return query
