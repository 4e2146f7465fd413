"""Step 2: may this caller send one more message now? The key's scope, its window, and the project's
month.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.errors import AppError, KeyScope, QuotaExceeded, RateLimitExceeded
from backend.services.limits.allowance import Allowance
from backend.services.limits.rate_limit import Demand

if TYPE_CHECKING:
    from backend.platform import Platform
    from backend.services.policy.caller import Caller


async def demand_of(platform: Platform, caller: Caller) -> Demand:
    """Return what a message of this caller counts against.

    Test messages cost nothing, so no month is asked.
    """
    key = caller.key
    if key is not None:
        return Demand(
            key.id,
            key.rate_limit,
            key.project_id,
            None if caller.mode == "test" else key.monthly_quota,
        )
    quota = (
        None if caller.mode == "test" else await platform.catalog.monthly_quota(caller.project_id)
    )
    return Demand(None, None, caller.project_id, quota)


async def admit(platform: Platform, caller: Caller, demand: Demand) -> Allowance | None:
    """Count one message; return what is left, None where nothing limits or nothing could be
    counted.

    Raises KeyScope, RateLimitExceeded or QuotaExceeded.
    """
    key = caller.key
    if key is not None and "messages:send" not in key.scopes:
        raise KeyScope(
            f"API key '{key.name}' lacks the scope 'messages:send'; add it or use another key."
        )
    if not demand.is_limited:
        return None
    allowance = await platform.rate_limiter.take(demand)
    if allowance is None:
        if not platform.rate_limiter.is_open(key.kind if key is not None else "secret"):
            raise RateLimitExceeded(
                "The limits cannot be counted right now; try again shortly.",
                headers={"Retry-After": "2"},
            )
        return None
    if allowance.refused_by is not None:
        raise _refusal(allowance, key.name if key is not None else "")
    return allowance


async def note_refusal(platform: Platform, caller: Caller, error: AppError) -> None:
    """Count a refused send as the key's, and have it say where the limits stand, as an accepted one
    does.
    """
    if caller.key is not None:
        platform.key_usage.note(caller.key.id, is_failed=True)
    if "RateLimit" in error.headers:
        return
    demand = await demand_of(platform, caller)
    allowance = await platform.rate_limiter.look(demand) if demand.is_limited else None
    if allowance is not None:
        error.headers.update(allowance.headers())


def _refusal(allowance: Allowance, key_name: str) -> AppError:
    bucket = allowance.refused_by
    assert bucket is not None  # noqa: S101 (the caller looked)
    if bucket.policy == "project":
        return QuotaExceeded(
            f"The project has sent {bucket.limit} messages this month, the quota of its plan; "
            "it starts anew on the first (UTC), or choose a larger plan.",
            headers=allowance.headers(),
        )
    return RateLimitExceeded(
        f"API key '{key_name}' has sent {bucket.limit} messages within {bucket.window_s} s, its"
        f" limit; try again in {bucket.reset_s} s or raise its rateLimit.",
        headers=allowance.headers(),
    )
