"""What an error means for its message: capped in number and in age, never tried after its
expiresAt.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend.dispatch.retry import RetryPolicy
from backend.ids import new_id
from backend.ledger.claims import Claim
from backend.ledger.results import Result
from backend.providers.frame.errors import (
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.provider import Retry
from backend.services.delivery.outcomes import failed
from backend.status import Status

POLICY = RetryPolicy(max_attempts=3, base_s=1.0, cap_s=10.0, max_age_s=3600.0)


def _claim(**fields: Any) -> Claim:
    now = datetime.now(UTC)
    defaults: dict[str, Any] = {
        "number": new_id(),
        "message_id": new_id(),
        "project_id": new_id(),
        "connector_id": new_id(),
        "lane": 1,
        "tries": 1,
        "attempt_number": 1,
        "recipient": "42",
        "content": {"text": "x"},
        "status": "queued",
        "on_uncertain": "hold",
        "created_at": now,
        "expires_at": None,
    }
    if "age_s" in fields:
        fields["created_at"] = now - timedelta(seconds=fields.pop("age_s"))
    if "expires_in_s" in fields:
        fields["expires_at"] = now + timedelta(seconds=fields.pop("expires_in_s"))
    return Claim(**{**defaults, **fields})


def _failed(
    claim: Claim, error: SendError, policy: RetryPolicy = POLICY, *, counts: bool = True
) -> Result:
    return failed(claim, error, policy, datetime.now(UTC), 1.0, counts=counts)


def test_delays_double_up_to_the_cap_and_are_spread_from_nothing() -> None:
    for tries, longest in ((1, 1.0), (2, 2.0), (4, 8.0), (5, 10.0), (60, 10.0)):
        delays = [POLICY.delay_s(tries) for _ in range(400)]
        assert 0 <= min(delays) < longest * 0.1
        assert longest * 0.9 < max(delays) <= longest


def test_the_providers_wish_is_obeyed() -> None:
    result = _failed(_claim(), Unavailable("busy", retry_after_s=77.0))
    assert result.retry_in_s == 77.0
    assert result.hold_s == 0


def test_a_throttle_holds_the_connector_and_is_not_a_try() -> None:
    result = _failed(_claim(tries=9), Throttled("slow down", retry_after_s=20.0))
    assert result.retry_in_s is not None
    assert 20.0 <= result.retry_in_s <= 21.0
    assert (result.hold_s, result.counts_as_try, result.status) == (20.0, False, None)
    assert (
        _failed(_claim(), Throttled("slow down", retry_after_s=20.0, recipient_only=True)).hold_s
        == 0
    )


def test_an_absurd_wish_ends_the_message_and_holds_the_connector_for_an_hour_at_most() -> None:
    result = _failed(_claim(), Throttled("slow down", retry_after_s=1e9))
    assert (result.status, result.code, result.retry_in_s) == (
        Status.FAILED,
        "RETRIES_EXHAUSTED",
        None,
    )
    assert result.hold_s == 3600.0


@pytest.mark.parametrize(
    ("tries", "age_s", "is_tried"), [(1, 0, True), (3, 0, False), (1, 3601, False)]
)
def test_tries_end_by_number_and_by_age(tries: int, age_s: float, is_tried: bool) -> None:
    result = _failed(_claim(tries=tries, age_s=age_s), Unavailable("busy"))
    assert (result.retry_in_s is not None) is is_tried
    assert result.status == (None if is_tried else Status.FAILED)


def test_behind_an_open_circuit_only_age_ends_it() -> None:
    result = _failed(_claim(tries=50), Unavailable("busy"), counts=False)
    assert result.retry_in_s is not None
    assert not result.counts_as_try
    assert (
        _failed(_claim(tries=1, age_s=3601), Unavailable("busy"), counts=False).status
        == Status.FAILED
    )


@pytest.mark.parametrize(
    "error", [Unavailable("busy", retry_after_s=60), Throttled("slow", retry_after_s=60)]
)
def test_a_retry_after_the_expiry_ends_it_now(error: SendError) -> None:
    result = _failed(_claim(expires_in_s=30), error)
    assert (result.status, result.code, result.retry_in_s) == (Status.EXPIRED, "EXPIRED", None)
    assert _failed(_claim(expires_in_s=90), error).status is None


def test_what_may_have_arrived_does_not_expire() -> None:
    result = _failed(_claim(on_uncertain="resend", expires_in_s=0.0), OutcomeUnknown("reset"))
    assert (result.status, result.retry_in_s) == (Status.UNCERTAIN, None)


def test_refused_credentials_wait_and_a_refusal_does_not() -> None:
    waits = _failed(_claim(tries=9), Unauthorized("no"))
    assert (waits.status, waits.counts_as_try) == (None, False)
    assert waits.retry_in_s is not None
    assert waits.hold_s > 0
    refused = _failed(_claim(), Rejected("no"))
    assert (refused.status, refused.retry_in_s) == (Status.FAILED, None)


def test_a_connectors_own_settings_count() -> None:
    ours = POLICY.overridden_by(Retry(max_attempts=1, cap_s=2.0))
    assert ours == RetryPolicy(max_attempts=1, base_s=1.0, cap_s=2.0, max_age_s=3600.0)
    assert _failed(_claim(), Unavailable("busy"), ours).status == Status.FAILED
    assert POLICY.overridden_by(Retry()) is POLICY


@pytest.mark.parametrize("worker_ahead_s", [0, 7200, -7200])
def test_the_databases_clock_decides_whatever_the_workers_says(worker_ahead_s: float) -> None:
    """A message of now, by the database, is neither too old nor expired for a worker hours ahead or
    behind.
    """
    skew = timedelta(seconds=-worker_ahead_s)
    by_database = datetime.now(UTC) + skew
    claim = _claim(
        created_at=by_database, expires_at=by_database + timedelta(minutes=30), skew=skew
    )
    assert _failed(claim, Unavailable("busy")).retry_in_s is not None
    old = _claim(created_at=by_database - timedelta(seconds=3601), skew=skew)
    assert _failed(old, Unavailable("busy")).status == Status.FAILED
