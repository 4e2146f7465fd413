"""The words and dots of statuses: the shape says how a message ended."""

from __future__ import annotations

from typing import Final

from backend.status import Status

# CSS classes of the dot in assets/visual.css.
DOTS: Final[dict[str, str]] = {
    Status.QUEUED: "queued ring",
    Status.SCHEDULED: "scheduled ring",
    Status.SENDING: "sending halo",
    Status.SENT: "sent",
    Status.DELIVERED: "delivered",
    Status.READ: "read",
    Status.FAILED: "failed",
    Status.UNDELIVERED: "undelivered",
    Status.UNCERTAIN: "uncertain half",
    Status.CANCELED: "canceled dash",
    Status.EXPIRED: "expired dash",
    Status.BLOCKED: "blocked sq",
}
# How an attempt ended; its dot is that of a status or a connector.
OUTCOMES: Final[dict[str, tuple[str, str]]] = {
    "accepted": ("accepted", "delivered"),
    "retry": ("unavailable, will retry", "throttled half"),
    "throttled": ("throttled, will retry", "throttled half"),
    "rejected": ("refused", "failed"),
    "broken": ("credentials refused", "failed"),
    "uncertain": ("outcome unknown", "uncertain half"),
}
# The chart's series from the bottom, and the statuses that each adds up.
SERIES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("Delivered", "delivered", (Status.DELIVERED, Status.READ)),
    ("Sent", "sent", (Status.SENT,)),
    (
        "In progress",
        "progress",
        (Status.QUEUED, Status.SCHEDULED, Status.SENDING, Status.UNCERTAIN),
    ),
    ("Failed", "failed", (Status.FAILED, Status.UNDELIVERED, Status.EXPIRED)),
    ("Blocked", "blocked", (Status.BLOCKED, Status.CANCELED)),
)


def word(status: str) -> str:
    return status.capitalize()


def dot(status: str) -> str:
    return DOTS.get(status, "queued ring")
