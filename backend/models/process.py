"""The processes that run now, as each reports itself every few seconds; what is old here is
gone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Field, SQLModel

from backend.models.base import Json, Timestamp


class Process(SQLModel, table=True):
    """Written over and over: pages keep room, so that an update stays on its page."""

    __tablename__ = "processes"
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    id: UUID = Field(primary_key=True)
    role: str = Field(max_length=10)
    host: str = Field(max_length=255)
    pid: int
    version: str = Field(max_length=50)
    started_at: datetime = Field(sa_type=Timestamp)
    beat_at: datetime = Field(sa_type=Timestamp)  # by the database's clock
    # Background tasks that failed lately: [{"name": ..., "error": ...}].
    failing: list[dict[str, Any]] = Field(sa_type=Json)
    # Processes with another JWT_SECRET refuse each other's log-ins.
    jwt_fingerprint: str | None = Field(default=None, max_length=32)
