"""Calls of the dashboard API, by user."""

from __future__ import annotations

import pytest

from backend.errors import RateLimitExceeded
from backend.ids import new_id
from backend.platform import Platform
from backend.services.limits.dashboard_calls import count_dashboard_call


async def test_dashboard_calls_are_counted_down_and_then_refused(platform: Platform) -> None:
    user_id = new_id()
    headers = [await count_dashboard_call(platform.redis, user_id, 2) for _ in range(2)]
    assert [answer["RateLimit"].split(";")[1] for answer in headers] == ["r=1", "r=0"]
    assert headers[0]["RateLimit-Policy"] == '"dashboard";q=2;w=60'
    with pytest.raises(RateLimitExceeded) as caught:
        await count_dashboard_call(platform.redis, user_id, 2)
    assert 0 < int(caught.value.headers["Retry-After"]) <= 60
    # Another user's calls are their own.
    assert await count_dashboard_call(platform.redis, new_id(), 2)
