"""Changes of message counts that are not folded into message_rollups yet.

Written by triggers on `messages` (migration 0005) in the transaction of the change itself, so that
anyone who changes a message is counted without knowing it. Append-only: writers never wait for each
other.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, String, Table, Uuid
from sqlmodel import SQLModel

from backend.models.base import Timestamp

# No key and no index: rows live for seconds, are read as a whole, and must cost the send path
# little.
ROLLUP_DELTAS: Final = Table(
    "rollup_deltas",
    SQLModel.metadata,
    Column("project_id", Uuid, nullable=False),
    Column("slot", Timestamp, nullable=False),
    Column("connector_id", Uuid, nullable=False),
    Column("connector_type", String(50), nullable=False),
    Column("mode", String(10), nullable=False),
    Column("measure", String(20), nullable=False),
    Column("value", String, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("last_at", Timestamp, nullable=True),
)
