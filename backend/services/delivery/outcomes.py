"""Steps 7 and 8: what one send came to, and what that means for the message.

The provider's error type alone decides: accepted, retry, throttled, rejected, broken or uncertain.
Retries wait exponentially longer with full jitter, capped in number and age.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from backend.providers._base import Accepted
from backend.providers._errors import OutcomeUnknown, Rejected, SendError, Throttled, Unauthorized, Unavailable
from backend.services.delivery.claims import Claim
from backend.status import Status

Outcome = Literal["accepted", "retry", "throttled", "rejected", "broken", "uncertain", "expired"]
# A throttled connector without a wish of its own from the provider waits this long.
DEFAULT_THROTTLE_S: Final = 1.0
# How long a connector that cannot send (broken, inactive) is left alone before it is looked at again.
WAITING_HOLD_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    max_attempts: int
    base_s: float
    cap_s: float
    max_age_s: float

    def delay_s(self, tries: int) -> float:
        """Return a random delay up to `base * 2^(tries-1)`, at most the cap (full jitter)."""
        longest = min(self.cap_s, self.base_s * 2.0 ** min(tries - 1, 30))
        return random.uniform(0.0, longest)  # noqa: S311 (jitter, not a secret)


@dataclass(frozen=True, slots=True)
class Result:
    """What is recorded of one try. `retry_in_s` set: the message goes back to the queue."""

    claim: Claim
    outcome: Outcome
    started_at: datetime
    duration_ms: float
    status: Status | None = None
    provider_message_id: str | None = None
    code: str = ""
    reason: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)
    retry_in_s: float | None = None
    counts_as_try: bool = True
    recipient_only: bool = False
    suppress: bool = False


def accepted(claim: Claim, answer: Accepted, started_at: datetime, duration_ms: float) -> Result:
    return Result(
        claim,
        "accepted",
        started_at,
        duration_ms,
        status=Status.DELIVERED if answer.status == "delivered" else Status.SENT,
        provider_message_id=answer.provider_message_id,
        answer=answer.answer,
    )


def failed(claim: Claim, error: SendError, policy: RetryPolicy, started_at: datetime, duration_ms: float) -> Result:
    """Return the result of a refused, impossible or unclear send."""
    outcome = _outcome_of(error)
    status: Status | None = None
    retry_in_s: float | None = None
    code, reason = error.code, error.reason
    if isinstance(error, OutcomeUnknown):
        status = Status.UNCERTAIN
        # The template's policy: a one-time code is better sent twice than never.
        retry_in_s = policy.delay_s(claim.tries) if claim.on_uncertain == "resend" else None
        if retry_in_s is not None and _is_exhausted(claim, policy):
            retry_in_s = None
    elif isinstance(error, Unauthorized):
        retry_in_s = WAITING_HOLD_S
    elif isinstance(error, Unavailable):
        retry_in_s = _retry_in_s(claim, error, policy)
        if retry_in_s is None:
            status = Status.FAILED
            code, reason = "RETRIES_EXHAUSTED", f"Given up after {claim.tries} attempts; the last: {reason}"
    else:
        status = Status.FAILED
    if status is None and claim.status == Status.SCHEDULED:
        status = Status.QUEUED  # its time has come; now it waits like any other
    return Result(
        claim,
        outcome,
        started_at,
        duration_ms,
        status=status,
        code=code,
        reason=reason,
        answer=error.answer,
        retry_in_s=retry_in_s,
        counts_as_try=not isinstance(error, Throttled | Unauthorized),
        recipient_only=isinstance(error, Throttled) and error.recipient_only,
        suppress=isinstance(error, Rejected) and error.suppress,
    )


def expired(claim: Claim) -> Result:
    reason = "Not sent before its expiresAt."
    return Result(claim, "expired", datetime.now(UTC), 0.0, status=Status.EXPIRED, code="EXPIRED", reason=reason)


def _outcome_of(error: SendError) -> Outcome:
    match error:
        case Throttled():
            return "throttled"
        case Unavailable():
            return "retry"
        case Unauthorized():
            return "broken"
        case OutcomeUnknown():
            return "uncertain"
        case _:
            return "rejected"


def _retry_in_s(claim: Claim, error: Unavailable, policy: RetryPolicy) -> float | None:
    """Return the delay, None when the message has had its tries or its time."""
    if _is_exhausted(claim, policy) and not (isinstance(error, Throttled) and not _is_too_old(claim, policy)):
        return None
    if isinstance(error, Throttled):
        # Everyone on this connector waits the same, so the jitter comes on top of the wish.
        return (error.retry_after_s or DEFAULT_THROTTLE_S) + random.uniform(0.0, policy.base_s)  # noqa: S311
    return max(error.retry_after_s or 0.0, policy.delay_s(claim.tries))


def _is_exhausted(claim: Claim, policy: RetryPolicy) -> bool:
    return claim.tries >= policy.max_attempts or _is_too_old(claim, policy)


def _is_too_old(claim: Claim, policy: RetryPolicy) -> bool:
    return (datetime.now(UTC) - claim.created_at).total_seconds() >= policy.max_age_s
