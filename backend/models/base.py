"""What every table shares: UUIDv7 keys, aware UTC instants, and camel-free column names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TIMESTAMP
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from backend.ids import new_id


class Timestamp(TIMESTAMP):
    """`timestamptz`: every instant in the database is aware."""

    def __init__(self) -> None:
        super().__init__(timezone=True)


class Json(JSONB):
    """`jsonb` whose None is SQL NULL, not the JSON value null."""

    def __init__(self) -> None:
        super().__init__(none_as_null=True)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Row(SQLModel):
    """A row with an id that is also its creation order."""

    id: UUID = Field(default_factory=new_id, primary_key=True)
    created_at: datetime = Field(default_factory=utc_now, sa_type=Timestamp)


class MutableRow(Row):
    """A row that people change; `updated_at` moves with every flush that changes it."""

    updated_at: datetime = Field(
        default_factory=utc_now, sa_type=Timestamp, sa_column_kwargs={"onupdate": utc_now}
    )


class TenantRow(MutableRow):
    """A project's resource. Deleting sets `deleted_at`: gone for the API, kept for the history."""

    project_id: UUID = Field(foreign_key="projects.id", index=True)
    is_active: bool = True
    deleted_at: datetime | None = Field(default=None, sa_type=Timestamp)


JsonObject = dict[str, Any]
