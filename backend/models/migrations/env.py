"""Alembic's entry: runs the migrations on the connection that `backend.models.migrate` lends it.

Each in a transaction of its own, so that none keeps the locks of the one before while it waits for
its own.
"""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Connection, inspect, text
from sqlmodel import SQLModel

import backend.models  # noqa: F401  (the tables register themselves in the metadata)
from backend.models.migrate import oldest_code
from backend.models.partitions import is_partition


def _include(name: str | None, kind: str, _parents: object) -> bool:
    """Partitions are made by the maintenance job, not by migrations."""
    return not (kind == "table" and name is not None and is_partition(name))


def _say_who_can_run(*, heads: set[str], **_: Any) -> None:
    """Keep, with the migration's own transaction, which code can run on the schema that it made."""
    connection: Connection | None = context.get_bind()
    oldest = oldest_code(context.script, heads)
    if connection is None or oldest is None or not inspect(connection).has_table("schema_compat"):
        return
    connection.execute(text("DELETE FROM schema_compat"))
    connection.execute(
        text("INSERT INTO schema_compat (oldest_code) VALUES (:oldest)"), {"oldest": oldest}
    )


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    include_name=_include,
    compare_type=True,
    transaction_per_migration=True,
    on_version_apply=_say_who_can_run,  # type: ignore[arg-type]  # Alembic names what it passes
)
with context.begin_transaction():
    context.run_migrations()
