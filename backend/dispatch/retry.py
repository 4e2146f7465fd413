"""The retry policy: exponential backoff with full jitter, capped in number and in age."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol


class RetryOverrides(Protocol):
    """What an owner sets for itself; None leaves the server's value."""

    @property
    def max_attempts(self) -> int | None: ...
    @property
    def base_s(self) -> float | None: ...
    @property
    def cap_s(self) -> float | None: ...
    @property
    def max_age_s(self) -> float | None: ...


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

    def is_exhausted(self, *, tries: int, age_s: float) -> bool:
        return tries >= self.max_attempts or age_s >= self.max_age_s

    def overridden_by(self, overrides: RetryOverrides) -> RetryPolicy:
        """Return this policy with what an owner sets for itself."""
        attempts, base_s = overrides.max_attempts, overrides.base_s
        cap_s, max_age_s = overrides.cap_s, overrides.max_age_s
        if attempts is None and base_s is None and cap_s is None and max_age_s is None:
            return self
        return RetryPolicy(
            max_attempts=self.max_attempts if attempts is None else attempts,
            base_s=self.base_s if base_s is None else base_s,
            cap_s=self.cap_s if cap_s is None else cap_s,
            max_age_s=self.max_age_s if max_age_s is None else max_age_s,
        )
