"""Which message a provider's id means: receipts are matched here, across partitions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from backend.models.base import Timestamp


class ProviderRef(SQLModel, table=True):
    __tablename__ = "provider_refs"

    connector_id: UUID = Field(primary_key=True)
    provider_message_id: str = Field(primary_key=True)
    message_id: UUID
    created_at: datetime = Field(sa_type=Timestamp)
