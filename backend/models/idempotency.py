"""What was answered under an Idempotency-Key; written in the accept transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from backend.models.base import Timestamp


class IdempotencyRecord(SQLModel, table=True):
    __tablename__ = "idempotency_records"

    project_id: UUID = Field(primary_key=True)
    route: str = Field(primary_key=True, max_length=50)
    key: str = Field(primary_key=True, max_length=255)
    request_hash: bytes
    message_id: UUID
    expires_at: datetime = Field(sa_type=Timestamp, index=True)
