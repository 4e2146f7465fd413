"""A message's statuses and the one rule about them: a status never goes back.

scheduled -> queued -> sending -> sent -> delivered -> read
ends: failed, undelivered, canceled, expired, blocked;  aside: uncertain
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    UNCERTAIN = "uncertain"
    SENT = "sent"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"
    BLOCKED = "blocked"
    DELIVERED = "delivered"
    READ = "read"


# `failed` outranks `sent` because a receipt may report a failure after the provider's acceptance;
# `delivered` outranks `failed` because a handset that has the message settles the question.
RANK: Final[dict[Status, int]] = {
    Status.SCHEDULED: 0,
    Status.QUEUED: 1,
    Status.SENDING: 2,
    Status.UNCERTAIN: 3,
    Status.SENT: 4,
    Status.UNDELIVERED: 5,
    Status.FAILED: 5,
    Status.CANCELED: 5,
    Status.EXPIRED: 5,
    Status.BLOCKED: 5,
    Status.DELIVERED: 6,
    Status.READ: 7,
}

IN_PROGRESS: Final = frozenset({Status.SCHEDULED, Status.QUEUED, Status.SENDING})
FAILURES: Final = frozenset({Status.FAILED, Status.UNDELIVERED, Status.EXPIRED})
# What `status=pending` means in a filter (reference 002).
PENDING: Final = (Status.QUEUED, Status.SENDING)


def may_follow(current: Status, new: Status) -> bool:
    """Whether `new` may replace `current`: only a higher rank may."""
    return RANK[new] > RANK[current]
