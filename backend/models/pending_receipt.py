"""A receipt that no message has taken up yet: it came just now, or before the answer to its
send.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from backend.models.base import Timestamp


class PendingReceipt(SQLModel, table=True):
    """Stored with its callback and deleted by the transaction that applies it, so that none is lost
    between.
    """

    __tablename__ = "pending_receipts"
    __table_args__ = (Index("ix_pending_receipts_due_at", "due_at"),)

    id: UUID = Field(primary_key=True)
    connector_id: UUID
    project_id: UUID
    provider_message_id: str | None = None
    message_id: UUID | None = None  # ours, where the provider echoes it
    status: str = Field(max_length=20)
    code: str
    reason: str
    suppress: bool
    happened_at: datetime = Field(sa_type=Timestamp)
    created_at: datetime = Field(sa_type=Timestamp)
    due_at: datetime = Field(sa_type=Timestamp)  # when it is looked at next
