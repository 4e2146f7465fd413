"""What limits leave to one try: the answer of every counter, and the rate-limit headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from backend.errors import RateLimitExceeded


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit after this try.

    `policy` is its name in the headers. `reset_s` is when there is more: in a key's window that is
    empty the next message, else when the window's oldest part, or the month, has passed.
    """

    policy: str  # key | project | dashboard | address
    limit: int
    remaining: int
    reset_s: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """The answer to one try; `refused_by` is the bucket that has nothing left for it."""

    buckets: tuple[Bucket, ...]
    refused_by: Bucket | None = None

    @property
    def is_allowed(self) -> bool:
        return self.refused_by is None

    def headers(self) -> dict[str, str]:
        """The RateLimit header fields (IETF draft-ietf-httpapi-ratelimit-headers); Retry-After
        too where the try was refused.
        """
        if not self.buckets:
            return {}
        policies = [f'"{b.policy}";q={b.limit};w={b.window_s}' for b in self.buckets]
        states = [f'"{b.policy}";r={b.remaining};t={b.reset_s}' for b in self.buckets]
        return {
            "RateLimit-Policy": ", ".join(policies),
            "RateLimit": ", ".join(states),
            **self.retry_after(),
        }

    def retry_after(self) -> dict[str, str]:
        """Return only when to try again, for limits that do not publish their numbers."""
        if self.refused_by is None:
            return {}
        return {"Retry-After": str(self.refused_by.reset_s)}

    def require(self, problem: str) -> None:
        """Raise RateLimitExceeded where the try was refused: the problem, and when to try again."""
        if self.refused_by is not None:
            raise RateLimitExceeded(
                f"{problem}; try again in {self.refused_by.reset_s} s.", headers=self.retry_after()
            )


# What a counter answers that could not count.
NOTHING_COUNTED: Final = Allowance(())
