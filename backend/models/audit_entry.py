"""An audit entry: who changed what, from where, before and after, without secrets."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field

from backend.models.base import Json, JsonObject, Row


class AuditEntry(Row, table=True):
    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_project", "project_id", "id"),
        Index("ix_audit_entries_actor", "actor_id", "id"),
    )

    project_id: UUID | None = None
    # Who acted: a user or an API key; neither: the system.
    actor_id: UUID | None = None
    key_id: UUID | None = None
    action: str = Field(max_length=50)  # connector.created
    subject_id: UUID | None = None
    address: str = Field(default="", max_length=64)
    before: JsonObject | None = Field(default=None, sa_type=Json)
    after: JsonObject | None = Field(default=None, sa_type=Json)
