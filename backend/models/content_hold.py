"""Messages whose content was still needed when redaction came by, and when it looks again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from backend.models.base import Timestamp


class ContentHold(SQLModel, table=True):
    __tablename__ = "content_holds"

    message_id: UUID = Field(primary_key=True)
    project_id: UUID
    check_at: datetime = Field(sa_type=Timestamp, index=True)
