"""What comes after a try on one way of a message: nothing, a look at it later, or its next way.

A step of a route (ledger/content.py) that is `on: failure` is entered when the way before refused
the message, gave up, cannot be used, or did not deliver within fallbackAfterS; one `on:
unavailable` (another connector of the same pool) only when the connector before it cannot be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from backend.dispatch.retry import RetryPolicy
from backend.ledger.claims import SETTLED, Claim, Watched
from backend.ledger.content import MessageRoute
from backend.ledger.results import DONE, Again, Leave, Next, Result, Watch
from backend.providers.frame.registry import AnyProvider
from backend.services.delivery.open_connectors import OpenConnector
from backend.status import Status

# Asking a provider that does not answer goes on this many settle times before a message that may be
# resent is.
_PATIENCE: Final = 4


def after_try(result: Result, connector: OpenConnector, *, settle_s: float) -> Result:
    """Return the result with what comes next, for the recorder to write."""
    claim = result.claim
    if result.status == Status.EXPIRED:
        return _expired(result)
    if result.outcome == "uncertain":
        return _after_uncertain(result, connector.provider, settle_s)
    if claim.route is None:
        return result
    if result.status == Status.SENT:
        wait_s = fallback_after_s(claim.route, claim.step)
        return result if wait_s is None else replace(result, next=Watch(wait_s))
    if result.outcome == "broken" or result.status == Status.FAILED:
        # What is refused is not offered to another connector of the pool; what could not be sent
        # is.
        is_refused = result.outcome == "rejected" and connector.provider is not None
        return result.leaving("failure" if is_refused else "unavailable")
    return result


def fallback_after_s(route: Mapping[str, Any] | None, step: int) -> float | None:
    """Return how long the way at `step` may take to deliver; None when no other would follow."""
    return MessageRoute.of(route).fallback_after(step) if route is not None else None


def settles_later(provider: type[AnyProvider] | AnyProvider | None) -> bool:
    """Whether an uncertain send may become known: by a receipt with our id, or by asking."""
    return provider is not None and (provider.receipts_carry_our_id or provider.can_be_asked)


def after_waiting(watched: Watched, policy: RetryPolicy) -> Result:
    """Return what becomes of a message whose wait is over and whose provider cannot be asked."""
    claim = watched.claim
    if claim.status in SETTLED or _is_expired(claim):
        return _watched(claim)
    if not watched.is_uncertain:
        return _not_delivered(claim)
    if claim.on_uncertain == "resend" and not _is_exhausted(claim, policy):
        return _watched(claim, Again(policy.delay_s(claim.tries)))
    wait_s = fallback_after_s(claim.route, claim.step)
    if wait_s is None:
        return _watched(claim)
    if watched.sent_ago_s < wait_s:
        return _watched(claim, Watch(wait_s - watched.sent_ago_s))
    return _not_delivered(claim)


def is_open_question(watched: Watched) -> bool:
    """Whether only the provider knows what became of the message."""
    return watched.is_uncertain and watched.claim.status not in SETTLED


def after_no_answer(watched: Watched, policy: RetryPolicy, *, settle_s: float) -> Result:
    """Return the result of a question that the provider did not answer: asked again, or decided
    without it.
    """
    claim = watched.claim
    patience_s = _PATIENCE * settle_s if claim.on_uncertain == "resend" else policy.max_age_s
    fallback_s = fallback_after_s(claim.route, claim.step)
    if watched.sent_ago_s >= (patience_s if fallback_s is None else fallback_s):
        return after_waiting(watched, policy)
    return ask_later(watched, settle_s=settle_s)


def ask_later(watched: Watched, *, settle_s: float) -> Result:
    """Return the result of a question put off: the pauses grow with the time that has passed."""
    claim = watched.claim
    pause_s = max(settle_s, watched.sent_ago_s / 2)
    fallback_s = fallback_after_s(claim.route, claim.step)
    if fallback_s is not None:
        pause_s = min(pause_s, max(settle_s, fallback_s - watched.sent_ago_s))
    return _watched(claim, Watch(pause_s))


def stop_watching(watched: Watched) -> Result:
    """Return the result of giving up on a question: the message keeps the status it has."""
    return _watched(watched.claim)


def watch_in_s(
    *, settles: bool, is_resent: bool, fallback_s: float | None, settle_s: float
) -> float | None:
    """Return how long an uncertain message is watched before anything else; None: not at all."""
    if settles:
        return settle_s if fallback_s is None else min(settle_s, fallback_s)
    return None if is_resent else fallback_s


def _after_uncertain(result: Result, provider: AnyProvider | None, settle_s: float) -> Result:
    wait_s = watch_in_s(
        settles=settles_later(provider),
        is_resent=result.retry_in_s is not None,
        fallback_s=fallback_after_s(result.claim.route, result.claim.step),
        settle_s=settle_s,
    )
    return result if wait_s is None else replace(result, next=Watch(wait_s))


def _expired(result: Result) -> Result:
    """A message that an earlier way or try may have delivered did not expire unsent: it keeps its
    status.
    """
    if result.claim.status in {Status.SCHEDULED, Status.QUEUED}:
        return result
    return replace(result, status=None)


def _is_expired(claim: Claim) -> bool:
    return claim.expires_at is not None and claim.expires_at <= claim.now()


def _is_exhausted(claim: Claim, policy: RetryPolicy) -> bool:
    age_s = (claim.now() - claim.created_at).total_seconds()
    return policy.is_exhausted(tries=claim.tries, age_s=age_s)


def _not_delivered(claim: Claim) -> Result:
    wait_s = fallback_after_s(claim.route, claim.step) or 0
    return _watched(
        claim,
        Leave("failure", DONE),
        code="NOT_DELIVERED",
        reason=f"No receipt of delivery within {wait_s:g} s.",
    )


def _watched(claim: Claim, then: Next = DONE, *, code: str = "", reason: str = "") -> Result:
    return Result(
        claim,
        "watched",
        claim.now(),
        0.0,
        next=then,
        code=code,
        reason=reason,
        is_attempt=False,
    )
