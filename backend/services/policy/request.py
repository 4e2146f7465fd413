"""The request to send a message, before anything is looked up, and what a checked token grants."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from backend.services.keys.send_tokens import recipient_hash

# The access of a template that a publishable key may send with a send token.
SIGNED: Final = "signed"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a checked token grants.

    `jti` is used up when the message is written, and may be forgotten at `expires_at`.
    """

    jti: str
    expires_at: datetime
    to: str | None
    to_hash: str | None

    def allows(self, recipient: str, granted: str | None) -> bool:
        """Tell whether the message may go to `recipient`.

        Both are in their channel's normal form. `granted` None: the token names a hash.
        """
        if granted is not None:
            return hmac.compare_digest(recipient.encode(), granted.encode())
        return self.to_hash is not None and hmac.compare_digest(
            recipient_hash(recipient), self.to_hash
        )


@dataclass(frozen=True, slots=True)
class SendRequest:
    """What to send: a template with variables, or a text; through a connector, a type, channels or
    a saved route (`route`: its name or id).

    Either `recipients` (an address for each kind) or `to`; the other is empty.
    """

    to: str
    connector_id: UUID | None = None
    connector_type: str | None = None
    template_id: UUID | None = None
    variables: Mapping[str, Any] | None = None
    text: str | None = None
    subject: str | None = None
    html: str | None = None
    priority: str = "normal"
    metadata: Mapping[str, Any] | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None
    send_token: str | None = None
    # Comes only from a checked token.
    grant: Grant | None = None
    recipients: Mapping[str, str] | None = None
    channels: Sequence[str] | None = None
    route: str | None = None
    fallback_after_s: int | None = None
    # The recipient's time zone, an IANA name, for quiet hours.
    timezone: str | None = None
