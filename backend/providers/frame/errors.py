"""How a send can fail; the type alone says whether to retry.

SendError
├── Unavailable      retry       nothing was sent, or the provider said "not now" (5xx before work)
├── Throttled        throttled   retry after the provider's own delay; slows the whole connector
├── Rejected         rejected    permanent for this message (bad recipient, bad template)
├── Unauthorized     broken      permanent for the connector: pause it and tell its owner
└── OutcomeUnknown   uncertain   the request may have gone through: never repeated blindly
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class SendError(Exception):
    """A send that was not accepted.

    `code` is the provider's code as text ("131047", "chat_not_found"), `reason` a sentence that a
    person can act on, `answer` what the provider said, without credentials.
    """

    def __init__(
        self,
        reason: str,
        *,
        code: str = "",
        answer: Mapping[str, Any] | None = None,
    ) -> None:
        self.reason = reason
        self.code = code
        self.answer: dict[str, Any] = dict(answer or {})
        super().__init__(f"{code}: {reason}" if code else reason)


class Unavailable(SendError):
    """Safe to repeat, after `retry_after_s` if the provider asks for that."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None, **kwargs: Any) -> None:
        super().__init__(reason, **kwargs)
        self.retry_after_s = retry_after_s


class Throttled(Unavailable):
    """Safe to repeat after `retry_after_s`.

    `recipient_only`: only this recipient must wait; the connector's other messages go out.
    """

    def __init__(self, reason: str, *, recipient_only: bool = False, **kwargs: Any) -> None:
        super().__init__(reason, **kwargs)
        self.recipient_only = recipient_only


class Rejected(SendError):
    """Permanent for this message. `suppress`: the recipient must not be sent to again."""

    def __init__(self, reason: str, *, suppress: bool = False, **kwargs: Any) -> None:
        super().__init__(reason, **kwargs)
        self.suppress = suppress


class Unauthorized(SendError):
    """The connector's credentials or account no longer work; its messages wait."""


class OutcomeUnknown(SendError):
    """The provider may have taken the message: a timeout or reset after the request was written."""


class CallbackRefused(Exception):
    """A callback that isn't the provider's, or may be forged; `reason` is for the log only."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class InvalidRecipient(ValueError):
    """The recipient cannot exist on this channel; the text says what a valid one looks like."""
