"""Counters of messages by quarter hour, hour and day: what analytics sum instead of the messages.

A counter is folded from rollup_deltas by a worker; counters and deltas together are exact at any
moment.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, SmallInteger
from sqlmodel import Field, SQLModel

from backend.models.base import Timestamp

# `measure`, and what its `value` is
STATUS: Final = "status"  # the status messages have now
FAILURE: Final = "failure"  # the error code of those that failed, "" without one
TO_PROVIDER: Final = "provider"  # bin of the time from due to taken by the provider
TO_DELIVERY: Final = "delivery"  # bin of the time from due to delivered
REMOVED: Final = (
    "removed"  # the last status of messages that retention removed; STATUS counts them still
)

# `grain`, beside 15, 60 and 1440 minutes: hours that begin 15 or 30 minutes past the full one
# (UTC), as those of zones such as Asia/Kathmandu and Asia/Kolkata do. Of statuses only.
QUARTER_PAST: Final = 75
HALF_PAST: Final = 90


class MessageRollup(SQLModel, table=True):
    """How many messages accepted within `grain` minutes from `slot` (UTC) have `value` as their
    `measure`.
    """

    __tablename__ = "message_rollups"

    project_id: UUID = Field(primary_key=True)
    measure: str = Field(primary_key=True, max_length=20)
    grain: int = Field(
        primary_key=True, sa_type=SmallInteger
    )  # 15 (not of times), 60 or 1440 minutes, or as above
    slot: datetime = Field(primary_key=True, sa_type=Timestamp)
    connector_id: UUID = Field(primary_key=True)
    mode: str = Field(primary_key=True, max_length=10)
    value: str = Field(primary_key=True)
    connector_type: str = Field(max_length=50)
    messages: int = Field(sa_type=BigInteger)
    last_at: datetime | None = Field(
        default=None, sa_type=Timestamp
    )  # the latest hand-over among `provider` ones
