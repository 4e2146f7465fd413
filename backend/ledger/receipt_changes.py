"""Decide one message's share of a batch of receipts: which of them count, and what they change.

A receipt of the message's current way may end it; one of a way that was left says only that the
message arrived. While the current way is being handed over right now, its receipts wait for the
answer to the send. No database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from backend.ledger.receipt_messages import LockedMessage, StoredReceipt
from backend.ledger.settle import Report, Standing, settle
from backend.models.send_queue import CLAIMED, DUE, IN_FLIGHT
from backend.status import Status


@dataclass(slots=True)
class ReceiptChange:
    """`counted` are the receipts that count now, `deferred` those that wait for the answer to the
    send.

    `opted_out` says why the current way's recipient must not be sent to again, where a receipt
    reports that.
    """

    message: LockedMessage
    before: Standing
    counted: list[StoredReceipt] = field(default_factory=list)
    deferred: list[StoredReceipt] = field(default_factory=list)
    current: set[UUID] = field(default_factory=set)  # ids of counted receipts of the current way
    opted_out: str | None = None
    goes_on: bool = False
    after: Standing = field(init=False)
    raised: list[Report] = field(init=False)

    def take(self, receipt: StoredReceipt, state: int | None, *, is_current: bool) -> None:
        if is_current and state == IN_FLIGHT:
            self.deferred.append(receipt)
            return
        if is_current and receipt.suppress:
            self.opted_out = receipt.reason
        # The failure of a try says nothing where another one is on its way.
        counts = (is_current and state not in {DUE, CLAIMED}) or not receipt.is_failure
        if counts:
            self.counted.append(receipt)
            if is_current:
                self.current.add(receipt.id)

    def decide(self) -> None:
        created_at = self.message.created_at
        reports = [receipt.report(created_at) for receipt in self.counted]
        self.after, self.raised = settle(self.before, reports)

    def take_back_failures(self) -> list[StoredReceipt]:
        """The way has failed, not the message: decide again without the failures, and return
        them.
        """
        failures = [receipt for receipt in self.counted if receipt.is_failure]
        self.counted = [receipt for receipt in self.counted if not receipt.is_failure]
        self.decide()
        return failures

    @property
    def ends(self) -> bool:
        """Whether the queue has nothing more to do for it, but to wait for its delivery."""
        if self.goes_on or not self.raised:
            return False
        if self.after.status != Status.SENT:
            return True
        return any(receipt.id in self.current for receipt in self.counted)

    @property
    def watch_in_s(self) -> float | None:
        if self.message.has_next and self.after.status == Status.SENT:
            return self.message.fallback_after_s
        return None

    @property
    def new_provider_id(self) -> str | None:
        """The provider's id, where only the receipt knew it."""
        if self.message.provider_message_id is not None or self.goes_on:
            return None
        return next(
            (receipt.provider_message_id for receipt in self.counted if receipt.id in self.current),
            None,
        )


def change_of(
    message: LockedMessage, state: int | None, receipts: Sequence[StoredReceipt]
) -> ReceiptChange:
    """Return what the receipts make of a locked message whose queue row has this state."""
    change = ReceiptChange(message, message.standing)
    connector_ids = message.connector_ids
    for receipt in receipts:
        # Only what the message was sent through may speak of it.
        if receipt.project_id == message.project_id and receipt.connector_id in connector_ids:
            change.take(receipt, state, is_current=message.is_of_current_way(receipt))
    change.decide()
    return change
