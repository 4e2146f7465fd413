"""When a message may go out first: now, at its `sendAt`, or when its recipient's quiet
hours are over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from backend.errors import BadRequest, FieldError
from backend.provider_types import provider_of
from backend.services.accounts.quiet_hours import EXEMPT_PRIORITY, QuietHours
from backend.status import Status

if TYPE_CHECKING:
    from backend.ledger.accept import NewMessage
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender

# A typo in the year should not wait for decades.
FURTHEST_SEND_AT: Final = timedelta(days=366)
# Kinds of recipients that are, or may be, phone numbers.
_PHONES: Final = ("phone", "any")


async def quiet_hours_of(path: SendPath, sender: Sender, priority: str) -> QuietHours | None:
    """Return the project's quiet hours where they count for a message of this priority."""
    if priority == EXEMPT_PRIORITY:
        return None
    if sender.key is not None:
        return sender.key.quiet_hours
    return await path.catalog.quiet_hours(sender.project_id)


def first_time(
    send_at: datetime | None,
    expires_at: datetime | None,
    quiet_hours: QuietHours | None,
    *,
    timezone: str | None = None,
    phones: Iterable[str] = (),
) -> tuple[datetime | None, Status]:
    """Return the message's `send_at` and first status.

    Raises BadRequest when it could never go out.
    """
    if send_at is None and expires_at is None and quiet_hours is None:
        return None, Status.QUEUED
    now = datetime.now(UTC)
    earliest = max(now, send_at or now)
    if expires_at is not None and expires_at <= earliest:
        raise BadRequest(
            f"expiresAt {expires_at.isoformat()} is not after the time of sending; the message"
            " would never go out.",
            errors=[
                FieldError(
                    "expiresAt",
                    "VALIDATION_ERROR",
                    "expiresAt must lie after sendAt and after now.",
                )
            ],
        )
    if send_at is not None and send_at - now > FURTHEST_SEND_AT:
        raise BadRequest(
            f"sendAt {send_at.isoformat()} is more than a year ahead.",
            errors=[FieldError("sendAt", "VALIDATION_ERROR", "sendAt may be up to a year ahead.")],
        )
    over = (
        quiet_hours.over_for(earliest, timezone=timezone, phones=phones)
        if quiet_hours is not None
        else None
    )
    if over is None:
        return send_at, Status.QUEUED if earliest == now else Status.SCHEDULED
    if expires_at is not None and expires_at <= over:
        raise _expires_in_quiet(expires_at, over)
    return over, Status.SCHEDULED


def phones_among(addresses: Iterable[tuple[str, str]]) -> list[str]:
    """Return the recipients that may tell a time zone, of (connector type, recipient)."""
    return [
        recipient
        for type_, recipient in addresses
        if provider_of(type_, field="connector").recipient_kind in _PHONES
    ]


async def put_off(path: SendPath, sender: Sender, message: NewMessage) -> NewMessage:
    """Return a message that is sent again with its first time."""
    columns = message.columns
    quiet_hours = await quiet_hours_of(path, sender, columns["priority"])
    if quiet_hours is None:
        return message
    phones = phones_among([(columns["connector_type"], columns["recipient"])])
    send_at, status = first_time(None, None, quiet_hours, phones=phones)
    return replace(message, columns={**columns, "send_at": send_at, "status": status})


def _expires_in_quiet(expires_at: datetime, over: datetime) -> BadRequest:
    remedy = (
        "expiresAt must lie after the quiet hours; only messages of the priority 'high' are sent"
        " within them."
    )
    return BadRequest(
        f"expiresAt {expires_at.isoformat()} lies in the recipient's quiet hours, which end at"
        f" {over.isoformat()}; the message would never go out.",
        errors=[FieldError("expiresAt", "VALIDATION_ERROR", remedy)],
    )
