"""The public interface of providers: what an adapter gets, returns and declares.

Ours and third parties' import from here: `from backend.providers.frame import Provider`.
"""

from __future__ import annotations

from backend.providers.frame.callbacks import CallbackRequest, Receipt
from backend.providers.frame.errors import (
    CallbackRefused,
    InvalidRecipient,
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.provider import (
    Accepted,
    Capability,
    Credentials,
    Health,
    OutboundMessage,
    Pacing,
    Provider,
    ProviderContext,
    ProviderTemplate,
    Retry,
    Token,
)

__all__ = [
    "Accepted",
    "CallbackRefused",
    "CallbackRequest",
    "Capability",
    "Credentials",
    "Health",
    "InvalidRecipient",
    "OutboundMessage",
    "OutcomeUnknown",
    "Pacing",
    "Provider",
    "ProviderContext",
    "ProviderTemplate",
    "Receipt",
    "Rejected",
    "Retry",
    "SendError",
    "Throttled",
    "Token",
    "Unauthorized",
    "Unavailable",
]
