"""Whether this code can run on the schema of the database; asked by readiness, doctor and every
start.

It needs neither Alembic nor the models, which a web server's main process doesn't load. The rule is
expand and contract (docs/operations.md): a schema may be newer than the code, if its migrations say
so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import psycopg

import backend

_VERSIONS: Final = Path(backend.__file__).parent / "models" / "migrations" / "versions"
_HAS_TABLE: Final = "SELECT to_regclass(%s) IS NOT NULL"


@dataclass(frozen=True, slots=True)
class SchemaFit:
    """`detail` says what to do if it does not fit."""

    state: Literal["current", "newer", "behind", "too_new"]
    revision: str | None
    detail: str

    @property
    def is_usable(self) -> bool:
        return self.state in {"current", "newer"}


@lru_cache(maxsize=1)
def code_revisions() -> tuple[str, ...]:
    """Return the revisions that this code knows, oldest first; it was written for the last."""
    return tuple(sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py")))


async def read_schema_fit(connection: psycopg.AsyncConnection[Any]) -> SchemaFit:
    """Compare the database's schema with this code."""
    revision = await _value(
        connection, "alembic_version", "SELECT max(version_num) FROM alembic_version"
    )
    oldest = await _value(connection, "schema_compat", "SELECT max(oldest_code) FROM schema_compat")
    return fit_of(revision, oldest)


def fit_of(revision: str | None, oldest_code: str | None) -> SchemaFit:
    """Judge a schema at `revision` that runs code from `oldest_code` on."""
    *_, head = known = code_revisions()
    if revision == head:
        return SchemaFit("current", revision, f"The schema is at '{revision}'.")
    if revision is None or revision in known:
        where = f"is at '{revision}'" if revision else "is not there yet"
        return SchemaFit(
            "behind",
            revision,
            f"The schema {where}, this version needs '{head}'; run 'messagejs migrate'.",
        )
    if oldest_code is not None and head >= oldest_code:
        return SchemaFit(
            "newer",
            revision,
            f"The schema is at '{revision}', newer than this version's '{head}' and good for it.",
        )
    return SchemaFit(
        "too_new",
        revision,
        f"The database is newer than this version: its schema is at '{revision}', which needs code"
        f" of '{oldest_code or revision}' or newer, and this is '{head}'. Start the newer MessageJS"
        " version, or restore a backup from before its migration.",
    )


async def _value(connection: psycopg.AsyncConnection[Any], table: str, query: Any) -> str | None:
    row = await (await connection.execute(_HAS_TABLE, (table,))).fetchone()
    if row is None or not row[0]:
        return None
    row = await (await connection.execute(query)).fetchone()
    return None if row is None else row[0]
