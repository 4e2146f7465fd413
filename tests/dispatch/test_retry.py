"""The retry policy: jitter within an exponential bound, and two ends."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from backend.dispatch.retry import RetryPolicy

POLICY = RetryPolicy(max_attempts=4, base_s=1.0, cap_s=5.0, max_age_s=60.0)


@dataclass(frozen=True)
class CarrierSettings:
    """What a carrier of a second queue sets for itself; no class of a provider."""

    max_attempts: int | None = None
    base_s: float | None = None
    cap_s: float | None = None
    max_age_s: float | None = None


@pytest.mark.parametrize(("tries", "longest_s"), [(1, 1), (2, 2), (3, 4), (4, 5), (2000, 5)])
def test_delays_are_spread_over_all_of_the_bound(tries: int, longest_s: float) -> None:
    delays_s = [POLICY.delay_s(tries) for _ in range(2000)]
    assert 0 <= min(delays_s) < 0.1 * longest_s
    assert 0.9 * longest_s < max(delays_s) <= longest_s


@pytest.mark.parametrize(
    ("tries", "age_s", "is_exhausted"), [(3, 59.9, False), (4, 0.0, True), (0, 60.0, True)]
)
def test_tries_and_age_both_end_it(tries: int, age_s: float, is_exhausted: bool) -> None:
    assert POLICY.is_exhausted(tries=tries, age_s=age_s) is is_exhausted


def test_an_owner_overrides_what_it_sets_and_no_more() -> None:
    assert POLICY.overridden_by(CarrierSettings()) is POLICY
    changed = POLICY.overridden_by(CarrierSettings(max_attempts=9, cap_s=2.5))
    assert changed == RetryPolicy(max_attempts=9, base_s=1.0, cap_s=2.5, max_age_s=60.0)
