"""A callback as it came from a provider, kept for some days: what was said, byte for byte, up to a
quota.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from backend.models.base import Timestamp


class Callback(SQLModel, table=True):
    """Written once its signature is verified.

    `digest` is over connector, query and body: a repeat adds no row.
    """

    __tablename__ = "callbacks"
    __table_args__ = (Index("ix_callbacks_received_at", "received_at"),)

    digest: bytes = Field(primary_key=True)
    connector_id: UUID
    project_id: UUID
    received_at: datetime = Field(sa_type=Timestamp)
    query: str
    body: bytes
    receipts: int  # how many were found in it
