"""The queue of record: one row for each message that still has something to do."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Index, SmallInteger, text
from sqlmodel import Field, SQLModel

from backend.models.base import Timestamp

# `state`
DUE: Final = 0
CLAIMED: Final = 1  # leased to a worker, nothing written to a provider: safe to send again
IN_FLIGHT: Final = 2  # may have been written to the provider: uncertain after a crash
# Handed over, or nobody knows: until `due_at` a receipt may settle it (and delete the row), then it
# is decided what comes next. A worker that decides holds a `claim` and has moved `due_at` on: that
# is its lease.
WATCHED: Final = 3
# Of a paused campaign: nothing takes it, but it expires, and can be canceled, like what is due.
HELD: Final = 4

# `lane`, from the message's priority
LANES: Final[dict[str, int]] = {"high": 0, "normal": 1, "bulk": 2}


class SendQueueRow(SQLModel, table=True):
    """Deleted when nothing is left to do for the message (settled, failed, canceled), so that
    claiming stays cheap.
    """

    __tablename__ = "send_queue"
    __table_args__ = (
        Index(
            "ix_send_queue_due",
            "lane",
            "connector_id",
            "due_at",
            "message_id",
            postgresql_where=text("state = 0"),
        ),
        Index("ix_send_queue_lease", "lease_until", postgresql_where=text("state IN (1, 2)")),
        Index("ix_send_queue_watched", "due_at", postgresql_where=text("state = 3")),
        Index(
            "ix_send_queue_routed",
            "connector_id",
            "due_at",
            postgresql_where=text("state = 0 AND has_next"),
        ),
        Index(
            "ix_send_queue_expires",
            "expires_at",
            postgresql_where=text("state IN (0, 4) AND expires_at IS NOT NULL"),
        ),
        Index("ix_send_queue_held", "project_id", "message_id", postgresql_where=text("state = 4")),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    message_id: UUID = Field(primary_key=True)
    project_id: UUID
    connector_id: UUID
    lane: int = Field(sa_type=SmallInteger)
    state: int = Field(default=DUE, sa_type=SmallInteger)
    tries: int = Field(default=0, sa_type=SmallInteger)
    due_at: datetime = Field(sa_type=Timestamp)
    claim: UUID | None = None  # the number of the lease; a result that names another is refused
    lease_until: datetime | None = Field(default=None, sa_type=Timestamp)
    # Another way is left when this connector cannot be used (`messages.route`); some of them may be
    # closed to it.
    has_next: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    expires_at: datetime | None = Field(default=None, sa_type=Timestamp)
