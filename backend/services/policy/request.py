"""A send as it is asked for, before anything is looked up; and what a checked token grants."""

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
    """A token that was checked.

    `jti` is used up when the message is written, and may be forgotten at `expires_at`.
    """

    jti: str
    expires_at: datetime
    to: str | None
    to_hash: str | None

    def allows(self, recipient: str, granted: str | None) -> bool:
        """Tell whether it may go to `recipient`; both in their channel's form, `granted` None: by
        its hash.
        """
        if granted is not None:
            return hmac.compare_digest(recipient.encode(), granted.encode())
        return self.to_hash is not None and hmac.compare_digest(
            recipient_hash(recipient), self.to_hash
        )


@dataclass(frozen=True, slots=True)
class SendRequest:
    """What is to be sent: a template with variables, or a text; through a connector, a type,
    channels or a route.

    `recipients` (an address for each kind) or `to`; the other one is empty. `route`: the name or id
    of a saved one.
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
    # Only a checked token makes one.
    grant: Grant | None = None
    recipients: Mapping[str, str] | None = None
    channels: Sequence[str] | None = None
    route: str | None = None
    fallback_after_s: int | None = None
    # The recipient's, an IANA name: what quiet hours are judged by.
    timezone: str | None = None
