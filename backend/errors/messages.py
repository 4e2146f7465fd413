"""Messages: why one was not accepted, and what cannot be done with one."""

from __future__ import annotations

from backend.errors.base import BadRequest, Conflict, Forbidden, NotFound


class InvalidTo(BadRequest):
    code = "INVALID_TO"
    title = "The recipient is not valid for this channel"


class InvalidPhone(InvalidTo):
    code = "INVALID_PHONE"
    title = "The phone number is not valid"


class SendBlocked(Forbidden):
    code = "SEND_BLOCKED"
    title = "The send was blocked by a policy rule"


class RecipientSuppressed(Forbidden):
    code = "RECIPIENT_SUPPRESSED"
    title = "The recipient must not be sent to"


class MessageNotFound(NotFound):
    code = "MESSAGE_NOT_FOUND"
    title = "Message does not exist"


class MessageNotCancelable(Conflict):
    code = "MESSAGE_NOT_CANCELABLE"
    title = "The message is on its way already"


class MessageRedacted(Conflict):
    code = "MESSAGE_REDACTED"
    title = "The message's content is not kept"


class MessageNotResendable(Conflict):
    code = "MESSAGE_NOT_RESENDABLE"
    title = "The message is still being sent"


class NotADeadLetter(Conflict):
    code = "NOT_A_DEAD_LETTER"
    title = "The message isn't a dead letter"
