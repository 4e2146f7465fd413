"""Rows that a statement reads from JSON: the columns come from the dataclass that they fill.

One list of columns for both sides, so that neither can forget what the other has.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID


@dataclass(frozen=True, slots=True)
class PgType:
    """The Postgres type of a field, where its Python type does not say it: `Annotated[int,
    PgType("smallint")]`.
    """

    name: str


JSONB: Final = PgType("jsonb")
SMALLINT: Final = PgType("smallint")
BIGINT: Final = PgType("bigint")
_TYPES: Final[dict[type, str]] = {
    UUID: "uuid",
    str: "text",
    bool: "bool",
    int: "int",
    float: "float8",
    datetime: "timestamptz",
}


@cache
def columns(row: type) -> str:
    """Return the column list of a dataclass: `id uuid, name text`.

    Raises TypeError for a field whose type says no Postgres type.
    """
    hints = get_type_hints(row, include_extras=True)
    return ", ".join(f"{item.name} {_pg_type(item.name, hints[item.name])}" for item in fields(row))


@cache
def names(row: type) -> str:
    """Return the names of a dataclass's fields, as a statement lists them."""
    return ", ".join(item.name for item in fields(row))


def recordset(row: type, alias: str, parameter: str = "rows") -> str:
    """Return a FROM item that reads a JSON list of such rows from a parameter."""
    return f"json_to_recordset(%({parameter})s::json) AS {alias}({columns(row)})"


def _pg_type(name: str, hint: Any) -> str:
    if get_origin(hint) is Annotated:
        base, *marks = get_args(hint)
        for mark in marks:
            if isinstance(mark, PgType):
                return mark.name
        return _pg_type(name, base)
    if get_origin(hint) is Literal:
        return _pg_type(name, type(get_args(hint)[0]))
    if get_origin(hint) in {Union, UnionType}:
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        if len(kinds) == 1:
            return _pg_type(name, kinds[0])
    if hint in _TYPES:
        return _TYPES[hint]
    raise TypeError(f"The field '{name}' ({hint}) says no Postgres type; annotate it with PgType.")
