"""Alembic's entry: runs the migrations on the connection that `backend.models.migrate` lends it."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

import backend.models  # noqa: F401  (the tables register themselves in the metadata)
from backend.models.partitions import is_partition


def _include(name: str | None, kind: str, _parents: object) -> bool:
    """Partitions are made by the maintenance job, not by migrations."""
    return not (kind == "table" and name is not None and is_partition(name))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    include_name=_include,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
