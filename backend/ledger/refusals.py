"""What the sender learns of a message that was not written: why, and whether to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import psycopg

from backend.errors import (
    AppError,
    BadRequest,
    CampaignStateConflict,
    DatabaseError,
    NotADeadLetter,
    RecipientSuppressed,
    SendBlocked,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from backend.ledger.accept import NewMessage


def suppressed() -> RecipientSuppressed:
    return RecipientSuppressed(
        "The recipient opted out or bounced; remove the suppression to send again."
    )


def lost(message: NewMessage) -> AppError:
    if message.redrives:
        return NotADeadLetter("The message was redriven or discarded a moment ago.")
    if message.token is not None:
        return SendBlocked("The send token was already used; have your backend make another.")
    if message.campaign_line is not None:
        return CampaignStateConflict(
            "The row has been accepted already, or the campaign is no longer running."
        )
    return ServiceUnavailable("The Idempotency-Key has just expired; send the request again.")


def refused(cause: Exception) -> AppError:
    if isinstance(cause, psycopg.DataError | orjson.JSONEncodeError):
        error: AppError = BadRequest(
            "The message has a value that cannot be stored; nothing was sent."
        )
    else:
        error = DatabaseError("The database refused this message; nothing was sent.")
    error.__cause__ = cause
    return error


def away(cause: Exception) -> ServiceUnavailable:
    what = (
        "The database's disk is full"
        if isinstance(cause, psycopg.errors.DiskFull)
        else "The database is away"
    )
    error = ServiceUnavailable(
        f"{what}; it isn't certain that nothing was accepted. Send it again with the same"
        " Idempotency-Key."
    )
    error.__cause__ = cause
    return error
