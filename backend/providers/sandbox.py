"""The sandbox: sends nothing anywhere. Test keys and new users write to it.

The recipient chooses the outcome. No state is kept, so the same message ends the same way in every
process. `throttled` and `retry` refuse a message until it is three seconds old (its id says when it
was made) and then deliver it. Recipients that end in `-late` are sent at once and get their receipt
two seconds later, as from a real provider.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from backend import ids
from backend.providers.frame import (
    Accepted,
    Capability,
    Credentials,
    Health,
    InvalidRecipient,
    OutboundMessage,
    OutcomeUnknown,
    Provider,
    Receipt,
    ReceiptStatus,
    Rejected,
    Throttled,
    Unavailable,
)

_REFUSED_FOR_S: Final = 3.0
_SLOW_S: Final = 2.0
_RECEIPT_AFTER_S: Final = 2.0
_PREFIX: Final = "sandbox:"
_LATE: Final[Mapping[str, tuple[ReceiptStatus, ...]]] = {
    "delivered-late": ("delivered",),
    "read-late": ("delivered", "read"),
    "undelivered-late": ("undelivered",),
}
_MAGIC: Final = ("delivered", "failed", "throttled", "slow", "uncertain", "retry", *_LATE)
_LONGEST_RECIPIENT: Final = 320


class SandboxCredentials(Credentials):
    """The sandbox needs none."""


class SandboxProvider(Provider[SandboxCredentials]):
    type = "sandbox"
    title = "Sandbox"
    icon = "flask_conical"
    channel = "sandbox"
    summary = "Delivers to the dashboard's virtual inbox; needs no account and costs nothing."
    recipient_kind = "any"
    recipient_example = "sandbox:delivered"
    capabilities = frozenset({Capability.TEXT, Capability.TEMPLATE})
    has_circuit = False
    credentials_model = SandboxCredentials

    @classmethod
    def validate_recipient(cls, to: str) -> str:
        recipient = to.strip()
        if not recipient or len(recipient) > _LONGEST_RECIPIENT or not recipient.isprintable():
            raise InvalidRecipient(
                f"'{recipient[:40]}' is not a recipient; the sandbox takes any printable text of 1"
                f" to {_LONGEST_RECIPIENT} characters."
            )
        if recipient.startswith(_PREFIX) and recipient.removeprefix(_PREFIX) not in _MAGIC:
            known = ", ".join(_PREFIX + name for name in _MAGIC)
            raise InvalidRecipient(
                f"'{recipient[:40]}' isn't a sandbox recipient; use one of {known}, or any address."
            )
        return recipient

    async def validate(self) -> Health:
        return Health(True, "Connected to the sandbox: it answers at once and sends nothing.")

    async def send(self, message: OutboundMessage) -> Accepted:
        outcome = (
            message.to.removeprefix(_PREFIX) if message.to.startswith(_PREFIX) else "delivered"
        )
        if outcome == "failed":
            raise Rejected(
                "The sandbox refused the message, as its recipient asks for.", code="sandbox_failed"
            )
        if outcome == "uncertain":
            raise OutcomeUnknown(
                "The sandbox broke off after taking the message, as its recipient asks for.",
                code="sandbox_uncertain",
            )
        wait_s = _REFUSED_FOR_S - _age_s(message.id)
        if outcome == "throttled" and wait_s > 0:
            raise Throttled(
                "The sandbox slows this message down, as its recipient asks for.",
                code="sandbox_throttled",
                retry_after_s=wait_s,
                recipient_only=True,
            )
        if outcome == "retry" and wait_s > 0:
            raise Unavailable(
                "The sandbox is not available yet, as its recipient asks for.", code="sandbox_retry"
            )
        if outcome == "slow":
            await asyncio.sleep(_SLOW_S)
        provider_id = f"sandbox_{message.id}"
        if outcome in _LATE:
            # Reported before the answer, so that it isn't lost if this process dies.
            if self.context.report is not None:
                await self.context.report(_receipts(message.id, _LATE[outcome]))
            return Accepted(provider_id, answer={"recipient": outcome})
        return Accepted(provider_id, status="delivered", answer={"recipient": outcome})


def _receipts(message_id: str, statuses: tuple[ReceiptStatus, ...]) -> list[Receipt]:
    at = datetime.now(UTC) + timedelta(seconds=_RECEIPT_AFTER_S)
    receipts = [Receipt(status, message_id=message_id, at=at) for status in statuses]
    if statuses == ("undelivered",):
        reason = "The sandbox did not deliver it, as its recipient asks for."
        return [replace(receipts[0], code="sandbox_undelivered", reason=reason)]
    return receipts


def _age_s(message_id: str) -> float:
    """Return the message's age, infinite for an id that isn't ours."""
    id_ = ids.decode(ids.MESSAGE, message_id)
    if id_ is None:
        return float("inf")
    # The first 48 bits of a UUIDv7 are Unix milliseconds.
    return time.time() - (id_.int >> 80) / 1000
