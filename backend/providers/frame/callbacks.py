"""What a provider reports later: its callback as it came, and the receipts in it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, get_args
from urllib.parse import parse_qsl

from backend.instants import within_range

ReceiptStatus = Literal["sent", "delivered", "read", "failed", "undelivered"]
RECEIPT_STATUSES: tuple[ReceiptStatus, ...] = get_args(ReceiptStatus)


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """An HTTP request from a provider. Trust nothing in it before `verify_callback` has passed.

    `headers` have lower-case names. `urls` are those that the provider may have called: the public
    one first, then what the request itself says; a signature over the URL matches one of them.
    """

    body: bytes = b""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")

    def query_values(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def form(self) -> list[tuple[str, str]]:
        """Return the body's fields in order; raises ValueError if it isn't a form."""
        return parse_qsl(self.body.decode(), keep_blank_values=True, max_num_fields=1000)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A provider's later report about a message.

    It names the provider's id, ours if the provider echoes it, or both. `at` is when it
    happened by the provider's clock; None: when it arrived. `reason` and `code` must have gone
    through `Provider.quote`. `suppress`: the recipient must not be sent to again.
    """

    status: ReceiptStatus
    provider_message_id: str | None = None
    message_id: str | None = None  # "msg_..."
    at: datetime | None = None
    code: str = ""
    reason: str = ""
    suppress: bool = False


def is_signed(body: bytes, secret: str, signature: str) -> bool:
    """Tell in constant time whether `signature` is the hex HMAC-SHA256 of `body`."""
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.lower().encode())


def is_same(given: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())


def unix_instant(value: object) -> datetime | None:
    """Return the instant of Unix seconds (a number or digits); None if invalid or out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return within_range(datetime.fromtimestamp(float(value), UTC))
    except (ValueError, OverflowError, OSError):
        return None


def objects(value: object) -> Sequence[Mapping[str, object]]:
    """Return the objects in what should be a JSON list of them; anything else is left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
