"""What came of one try, as it is recorded, and what comes next for the message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from backend.ledger.claims import Claim
from backend.status import Status

# `watched` isn't a try: what came of waiting for a receipt.
Outcome = Literal[
    "accepted", "retry", "throttled", "rejected", "broken", "uncertain", "expired", "watched"
]
# Which steps of a route answer it (content.py).
Fault = Literal["failure", "unavailable"]
# The connector was deleted or switched off: the message wasn't refused.
CONNECTOR_GONE: Final = "CONNECTOR_GONE"


@dataclass(frozen=True, slots=True)
class Done:
    """The queue has nothing more to do for the message."""


@dataclass(frozen=True, slots=True)
class Again:
    """It goes back to the queue, to be sent again after `in_s`."""

    in_s: float


@dataclass(frozen=True, slots=True)
class Watch:
    """It stays in the queue, watched, and is looked at again after `in_s`."""

    in_s: float


@dataclass(frozen=True, slots=True)
class Leave:
    """It goes on with the next way of its route that answers the fault.

    `otherwise`: where none is open.
    """

    fault: Fault
    otherwise: Done | Again | Watch


Next = Done | Again | Watch | Leave
DONE: Final = Done()


@dataclass(frozen=True, slots=True)
class Result:
    """What is recorded of one try. `status` None: the message keeps the one it has."""

    claim: Claim
    outcome: Outcome
    started_at: datetime
    duration_ms: float
    status: Status | None = None
    provider_message_id: str | None = None
    code: str = ""
    reason: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)
    next: Next = DONE
    counts_as_try: bool = True
    # How long the whole connector is to wait.
    hold_s: float = 0.0
    suppress: bool = False
    is_attempt: bool = True

    @property
    def is_given_up(self) -> bool:
        """Whether it is a dead letter: not sent in the end, although another try may help."""
        return self.status is Status.FAILED and (
            self.outcome != "rejected" or self.code == CONNECTOR_GONE
        )

    @property
    def stay(self) -> Done | Again | Watch:
        """What comes next where the message stays on its way."""
        return self.next.otherwise if isinstance(self.next, Leave) else self.next

    @property
    def fault(self) -> Fault | None:
        return self.next.fault if isinstance(self.next, Leave) else None

    @property
    def retry_in_s(self) -> float | None:
        """After how long it is sent again on its way; None: it isn't."""
        stay = self.stay
        return stay.in_s if isinstance(stay, Again) else None

    def leaving(self, fault: Fault) -> Result:
        return replace(self, next=Leave(fault, self.stay))
