"""A sliding window in this process: no round trip, and with several processes the limit holds in
each.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from backend.services.limits.allowance import Allowance, Bucket


class LocalWindow:
    """Counts tries by name, from the counts of the current window and the one before it."""

    def __init__(
        self, policy: str, limit: int, window_s: float, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._policy = policy
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._began_at = clock()
        self._counts: dict[str, int] = {}
        self._last_counts: dict[str, int] = {}

    def count(self, name: str) -> Allowance:
        """Count one try; what is refused is not counted."""
        elapsed_s = self._elapsed_s()
        overlap = 1 - elapsed_s / self._window_s
        tries = self._counts.get(name, 0) + 1
        used = tries + self._last_counts.get(name, 0) * overlap
        reset_s = max(1, round(self._window_s - elapsed_s))
        remaining = max(0, int(self._limit - used))
        bucket = Bucket(self._policy, self._limit, remaining, reset_s, round(self._window_s))
        if used > self._limit:
            return Allowance((bucket,), refused_by=bucket)
        self._counts[name] = tries
        return Allowance((bucket,))

    def _elapsed_s(self) -> float:
        """Return how much of the current window has passed, after starting it where it is due."""
        elapsed_s = self._clock() - self._began_at
        if elapsed_s < self._window_s:
            return elapsed_s
        self._last_counts = self._counts if elapsed_s < 2 * self._window_s else {}
        self._counts = {}
        self._began_at += elapsed_s // self._window_s * self._window_s
        return elapsed_s % self._window_s
