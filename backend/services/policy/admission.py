"""May this caller send one more message now? The key's scope, its window, and the project's
month.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.errors import AppError, QuotaExceeded, RateLimitExceeded
from backend.services.access.access import Action
from backend.services.limits.rate_limit import Allowance, Demand

if TYPE_CHECKING:
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender


async def demand_of(path: SendPath, sender: Sender) -> Demand:
    """Return what a message of this caller counts against.

    Test messages cost nothing, so no month is asked.
    """
    key = sender.key
    if key is not None:
        return Demand(
            key.id,
            key.rate_limit,
            key.project_id,
            None if sender.mode == "test" else key.monthly_quota,
        )
    quota = None if sender.mode == "test" else await path.catalog.monthly_quota(sender.project_id)
    return Demand(None, None, sender.project_id, quota)


async def admit(path: SendPath, sender: Sender, demand: Demand) -> Allowance | None:
    """Count one message; return what is left, None where nothing limits or nothing could be
    counted.

    Raises KeyScope, RateLimitExceeded or QuotaExceeded.
    """
    key = sender.key
    sender.access.require(Action.SEND_MESSAGES)
    if not demand.is_limited:
        return None
    allowance = await path.rate_limiter.take(demand)
    if allowance is None:
        if not path.rate_limiter.is_open(key.kind if key is not None else "secret"):
            raise RateLimitExceeded(
                "The limits cannot be counted right now; try again shortly.",
                headers={"Retry-After": "2"},
            )
        return None
    if allowance.refused_by is not None:
        raise _refusal(allowance, key.name if key is not None else "")
    return allowance


async def note_refusal(path: SendPath, sender: Sender, error: AppError) -> None:
    """Count a refused send as the key's, and have it say where the limits stand, as an accepted one
    does.
    """
    if sender.key is not None:
        path.key_usage.note(sender.key.id, is_failed=True)
    if "RateLimit" in error.headers:
        return
    demand = await demand_of(path, sender)
    allowance = await path.rate_limiter.look(demand) if demand.is_limited else None
    if allowance is not None:
        error.headers.update(allowance.headers())


def _refusal(allowance: Allowance, key_name: str) -> AppError:
    bucket = allowance.refused_by
    assert bucket is not None  # noqa: S101 (the caller looked)
    if bucket.policy == "project":
        return QuotaExceeded(
            f"The project has sent {bucket.limit} messages this month, the quota of its plan; "
            "it starts again on the first (UTC), or choose a larger plan.",
            headers=allowance.headers(),
        )
    return RateLimitExceeded(
        f"API key '{key_name}' has sent {bucket.limit} messages within {bucket.window_s} s, its"
        f" limit; try again in {bucket.reset_s} s or raise its rateLimit.",
        headers=allowance.headers(),
    )
