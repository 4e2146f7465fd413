"""How often a person may try: log-ins by account and by address, dashboard calls by user.

Fixed windows in Redis. Without Redis nothing is counted and everything is let through: a log-in
still needs its password, and the dashboard is how an operator sees that Redis is away.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import redis
import redis.asyncio
import structlog

from backend.errors import RateLimitExceeded
from backend.settings import Settings

log = structlog.get_logger()

LOGIN_WINDOW_S: Final = 15 * 60
DASHBOARD_WINDOW_S: Final = 60


@dataclass(frozen=True, slots=True)
class Count:
    """One window after this try was counted."""

    limit: int
    used: int
    reset_s: int

    @property
    def is_exceeded(self) -> bool:
        return self.used > self.limit

    def headers(self, policy: str, window_s: int) -> dict[str, str]:
        """The RateLimit header fields (IETF draft-ietf-httpapi-ratelimit-headers)."""
        headers = {
            "RateLimit-Policy": f'"{policy}";q={self.limit};w={window_s}',
            "RateLimit": f'"{policy}";r={max(0, self.limit - self.used)};t={self.reset_s}',
        }
        if self.is_exceeded:
            headers["Retry-After"] = str(self.reset_s)
        return headers


class LoginAttempts:
    """Counts a try before the password is checked, so that a burst cannot slip through."""

    def __init__(self, client: redis.asyncio.Redis, settings: Settings, *, email: str, address: str) -> None:
        self._redis = client
        # Hashed: Redis need not know who tries to log in.
        account = hashlib.sha256(email.strip().lower().encode()).hexdigest()[:32]
        self._account = f"limit:login:account:{account}"
        self._address = f"limit:login:address:{_network(address)}"
        self._limits = {
            self._account: settings.login_attempts_per_account,
            self._address: settings.login_attempts_per_address,
        }

    async def take(self) -> None:
        """Raises RateLimitExceeded; the answer is the same whether the account exists or not."""
        for name, limit in self._limits.items():
            count = await _count(self._redis, name, limit, LOGIN_WINDOW_S)
            if count is not None and count.is_exceeded:
                raise RateLimitExceeded(
                    f"Too many log-in attempts; try again in {count.reset_s} s.",
                    headers={"Retry-After": str(count.reset_s)},
                )

    async def give_back(self) -> None:
        """A right password was no failed attempt."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.delete(self._account)
                pipe.decr(self._address)
                await pipe.execute()
        except (redis.RedisError, OSError) as exc:
            log.warning("limits.unreachable", error=type(exc).__name__)


async def count_dashboard_call(client: redis.asyncio.Redis, user_id: UUID, limit: int) -> dict[str, str]:
    """Count one call; return its RateLimit headers (none without Redis). Raises RateLimitExceeded."""
    count = await _count(client, f"limit:dashboard:{user_id}", limit, DASHBOARD_WINDOW_S)
    if count is None:
        return {}
    headers = count.headers("dashboard", DASHBOARD_WINDOW_S)
    if count.is_exceeded:
        raise RateLimitExceeded(
            f"You have made {limit} dashboard API calls in a minute, the limit; try again in {count.reset_s} s.",
            headers=headers,
        )
    return headers


async def _count(client: redis.asyncio.Redis, name: str, limit: int, window_s: int) -> Count | None:
    try:
        async with client.pipeline(transaction=True) as pipe:
            pipe.incr(name)
            pipe.expire(name, window_s, nx=True)
            pipe.ttl(name)
            used, _, ttl_s = await pipe.execute()
    except (redis.RedisError, OSError) as exc:
        log.warning("limits.unreachable", error=type(exc).__name__)
        return None
    return Count(limit=limit, used=int(used), reset_s=max(1, int(ttl_s)))


def _network(address: str) -> str:
    """One person holds a whole IPv6 /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address or "unknown"
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
