"""The public interface of providers, ours and third parties': import from here.

A provider is a subclass of `Provider`: it declares what it is and needs, takes an
`OutboundMessage`, and returns `Accepted` or raises a `SendError`. `Endpoint` and `refusal` do its
HTTP; a `CallbackRequest` becomes a list of `Receipt`s.
"""

from backend.providers.frame.callbacks import (
    CallbackRequest,
    Receipt,
    ReceiptStatus,
    is_same,
    is_signed,
    objects,
    unix_instant,
)
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
from backend.providers.frame.http import (
    JSON_HEADERS,
    Answer,
    Endpoint,
    ErrorTable,
    PooledClient,
    credential_check,
    is_opt_out,
    refusal,
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
    RecipientKind,
    Retry,
    Token,
    digest,
)
from backend.providers.frame.recipients import phone_number

__all__ = [
    "JSON_HEADERS",
    "Accepted",
    "Answer",
    "CallbackRefused",
    "CallbackRequest",
    "Capability",
    "Credentials",
    "Endpoint",
    "ErrorTable",
    "Health",
    "InvalidRecipient",
    "OutboundMessage",
    "OutcomeUnknown",
    "Pacing",
    "PooledClient",
    "Provider",
    "ProviderContext",
    "ProviderTemplate",
    "Receipt",
    "ReceiptStatus",
    "RecipientKind",
    "Rejected",
    "Retry",
    "SendError",
    "Throttled",
    "Token",
    "Unauthorized",
    "Unavailable",
    "credential_check",
    "digest",
    "is_opt_out",
    "is_same",
    "is_signed",
    "objects",
    "phone_number",
    "refusal",
    "unix_instant",
]
