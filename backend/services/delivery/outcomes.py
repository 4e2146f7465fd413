"""What one send came to, and what that means for the message.

The provider's error type alone decides: accepted, retry, throttled, rejected, broken or uncertain.
Retries wait exponentially longer with full jitter, capped in number and age.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Final

from backend.dispatch.retry import RetryPolicy
from backend.ledger.claims import Claim
from backend.ledger.results import DONE, Again, Outcome, Result
from backend.providers.frame.errors import (
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.provider import Accepted
from backend.status import Status

# A throttled connector without a wish of its own from the provider waits this long.
DEFAULT_THROTTLE_S: Final = 1.0
# How long a connector that cannot send (broken, inactive) is left alone before it is looked at
# again.
WAITING_HOLD_S: Final = 30.0
# A throttled connector is tried again after this long, whatever the provider asked for.
_LONGEST_HOLD_S: Final = 3600.0


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


def failed(
    claim: Claim,
    error: SendError,
    policy: RetryPolicy,
    started_at: datetime,
    duration_ms: float,
    *,
    counts: bool = True,
) -> Result:
    """Return the result of a refused, impossible or unclear send; `counts`: it is one of the
    message's tries.
    """
    outcome = _outcome_of(error)
    status: Status | None = None
    retry_in_s: float | None = None
    code, reason = error.code, error.reason
    if isinstance(error, OutcomeUnknown):
        status = Status.UNCERTAIN
        # The template's policy: a one-time code is better sent twice than never.
        if claim.on_uncertain == "resend":
            retry_in_s = _in_time(claim, policy, policy.delay_s(claim.tries), counts=counts)
            if _would_expire(claim, retry_in_s):
                retry_in_s = None
    elif isinstance(error, Unauthorized):
        retry_in_s = WAITING_HOLD_S
    elif isinstance(error, Unavailable):
        retry_in_s = _retry_in_s(claim, error, policy, counts=counts)
        if retry_in_s is None:
            status = Status.FAILED
            code, reason = (
                "RETRIES_EXHAUSTED",
                f"Given up after {_attempts(claim)}; the last: {reason}",
            )
    else:
        status = Status.FAILED
    if status is None and _would_expire(claim, retry_in_s):
        status, retry_in_s = Status.EXPIRED, None
        code, reason = (
            "EXPIRED",
            f"Its next attempt would come after its expiresAt; the last: {reason}",
        )
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
        next=DONE if retry_in_s is None else Again(retry_in_s),
        counts_as_try=counts and not isinstance(error, Throttled | Unauthorized),
        hold_s=_hold_s(error),
        suppress=isinstance(error, Rejected) and error.suppress,
    )


def expired(claim: Claim) -> Result:
    return Result(
        claim,
        "expired",
        claim.now(),
        0.0,
        status=Status.EXPIRED,
        code="EXPIRED",
        reason="Not sent before its expiresAt.",
        is_attempt=False,
    )


def _hold_s(error: SendError) -> float:
    if isinstance(error, Unauthorized):
        return WAITING_HOLD_S
    if isinstance(error, Throttled) and not error.recipient_only:
        return min(error.retry_after_s or DEFAULT_THROTTLE_S, _LONGEST_HOLD_S)
    return 0.0


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


def _retry_in_s(
    claim: Claim, error: Unavailable, policy: RetryPolicy, *, counts: bool
) -> float | None:
    """Return the delay, None when the message has had its tries or its time."""
    if isinstance(error, Throttled):
        # Everyone on this connector waits the same, so the jitter comes on top of the wish.
        wish_s = error.retry_after_s or DEFAULT_THROTTLE_S
        return _in_time(claim, policy, wish_s + random.uniform(0.0, policy.base_s), counts=False)  # noqa: S311
    delay_s = max(error.retry_after_s or 0.0, policy.delay_s(claim.tries))
    return _in_time(claim, policy, delay_s, counts=counts)


def _in_time(claim: Claim, policy: RetryPolicy, delay_s: float, *, counts: bool) -> float | None:
    """Return `delay_s`, None when the tries are used up or the message would be too old by then."""
    if counts and claim.tries >= policy.max_attempts:
        return None
    return delay_s if _age_s(claim) + delay_s < policy.max_age_s else None


def _age_s(claim: Claim) -> float:
    return (claim.now() - claim.created_at).total_seconds()


def _would_expire(claim: Claim, retry_in_s: float | None) -> bool:
    if retry_in_s is None or claim.expires_at is None:
        return False
    return claim.now() + timedelta(seconds=retry_in_s) >= claim.expires_at


def _attempts(claim: Claim) -> str:
    return "1 attempt" if claim.attempt_number == 1 else f"{claim.attempt_number} attempts"
