"""How often a user may call the dashboard API."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import redis.asyncio

from backend.errors import RateLimitExceeded
from backend.services.limits.fixed_windows import FixedWindow, count_tries

_WINDOW_S: Final = 60


async def count_dashboard_call(
    client: redis.asyncio.Redis, user_id: UUID, limit: int
) -> dict[str, str]:
    """Count one call; return its RateLimit headers (none without Redis).

    Raises RateLimitExceeded.
    """
    window = FixedWindow(f"limit:dashboard:{user_id}", limit, _WINDOW_S, "dashboard")
    allowance = await count_tries(client, window)
    if allowance.refused_by is not None:
        raise RateLimitExceeded(
            f"You have made {limit} dashboard API calls in a minute, the limit; try again in"
            f" {allowance.refused_by.reset_s} s.",
            headers=allowance.headers(),
        )
    return allowance.headers()
