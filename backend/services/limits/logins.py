"""How often a person may try: log-ins by account and by address, dashboard calls by user.

Fixed windows in Redis. Without Redis nothing is counted and everything is let through: a log-in
still needs its password, and the dashboard is how an operator sees that Redis is away.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import redis
import redis.asyncio
import structlog

from backend.errors import RateLimitExceeded
from backend.services.access.access import UserPrincipal
from backend.settings import Settings

log = structlog.get_logger()

LOGIN_WINDOW_S: Final = 15 * 60
ACCOUNT_WINDOW_S: Final = 3600
_ADDRESSES_OF_AN_ACCOUNT: Final = 10
_KNOWN_FOR_S: Final = 30 * 24 * 3600
DASHBOARD_WINDOW_S: Final = 60
REGISTRATION_WINDOW_S: Final = 3600
MAIL_WINDOW_S: Final = 3600
_MAILS_PER_ACCOUNT: Final = 5
_MAILS_PER_ADDRESS: Final = 30
_INVITATIONS_PER_USER: Final = 100
_INVITATIONS_UNCONFIRMED: Final = 10
_REDIS_PATIENCE_S: Final = 0.5


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
    """Counts a try before the password is checked, so that a burst cannot slip through.

    An account is limited at each address, so that a stranger's wrong passwords keep nobody else
    out; and more widely over all addresses but those where its password was right of late. This
    machine is no address: it is the operator, or a proxy that TRUSTED_PROXIES does not name, behind
    which everybody would be one.
    """

    def __init__(
        self, client: redis.asyncio.Redis, settings: Settings, *, email: str, address: str
    ) -> None:
        self._redis = client
        account, network = _account(email), network_of(address)
        self._everywhere = f"limit:login:account:{account}"
        self._here = f"limit:login:account:{account}:{network}"
        self._known = f"limit:login:known:{account}:{network}"
        self._address = None if _is_this_machine(address) else f"limit:login:address:{network}"
        self._limits = {self._here: settings.login_attempts_per_account}
        if self._address is not None:
            self._limits[self._address] = settings.login_attempts_per_address
        self._limit_everywhere = settings.login_attempts_per_account * _ADDRESSES_OF_AN_ACCOUNT

    async def take(self) -> None:
        """Raises RateLimitExceeded; the answer is the same whether the account exists or not."""
        for count in await _count(self._redis, self._limits, LOGIN_WINDOW_S):
            self._check(count)
        for count in await _count(
            self._redis, {self._everywhere: self._limit_everywhere}, ACCOUNT_WINDOW_S
        ):
            if count.is_exceeded and not await self._is_known():
                self._check(count)

    async def give_back(self) -> None:
        """A right password was no failed attempt, and its address is one of the account's."""
        async with _optional():
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(self._here)
            pipe.decr(self._everywhere)
            if self._address is not None:
                pipe.decr(self._address)
            pipe.set(self._known, 1, ex=_KNOWN_FOR_S)
            await pipe.execute()

    async def _is_known(self) -> bool:
        answers: list[int] = []
        async with _optional():
            answers.append(await self._redis.exists(self._known))
        return any(answers)

    @staticmethod
    def _check(count: Count) -> None:
        if count.is_exceeded:
            raise RateLimitExceeded(
                f"Too many log-in attempts; try again in {count.reset_s} s.",
                headers={"Retry-After": str(count.reset_s)},
            )


class PasswordChecks:
    """Counts how often a log-in asks whether a password is right: wrong ones elsewhere are not its
    own.
    """

    def __init__(
        self, client: redis.asyncio.Redis, settings: Settings, person: UserPrincipal
    ) -> None:
        self._redis = client
        self._name = f"limit:password:{person.session_id}"
        self._limit = settings.login_attempts_per_account

    async def take(self) -> None:
        """Raises RateLimitExceeded."""
        await _take(self._redis, {self._name: self._limit}, LOGIN_WINDOW_S, "wrong passwords")

    async def give_back(self) -> None:
        async with _optional():
            await self._redis.delete(self._name)


async def count_registration(client: redis.asyncio.Redis, address: str, limit: int) -> None:
    """Count one try to register; `limit` 0 is off. Raises RateLimitExceeded."""
    if limit:
        await _take(
            client,
            {f"limit:register:{network_of(address)}": limit},
            REGISTRATION_WINDOW_S,
            "registrations",
        )


async def count_mail(client: redis.asyncio.Redis, *, email: str, address: str) -> None:
    """Count one mail that somebody asks for, whether the account exists or not.

    Raises RateLimitExceeded.
    """
    limits = {
        f"limit:mail:account:{_account(email)}": _MAILS_PER_ACCOUNT,
        f"limit:mail:address:{network_of(address)}": _MAILS_PER_ADDRESS,
    }
    await _take(client, limits, MAIL_WINDOW_S, "mails")


async def count_invitation(
    client: redis.asyncio.Redis, settings: Settings, inviter: UserPrincipal
) -> None:
    """Count one invitation; where mail is sent, who has not confirmed an address of their own may
    send few.

    Raises RateLimitExceeded.
    """
    is_confirmed = inviter.is_confirmed or not settings.mail_enabled
    limit = _INVITATIONS_PER_USER if is_confirmed else _INVITATIONS_UNCONFIRMED
    try:
        await _take(
            client, {f"limit:invite:{inviter.user_id}": limit}, MAIL_WINDOW_S, "invitations"
        )
    except RateLimitExceeded as exc:
        if is_confirmed:
            raise
        message = (
            f"{exc.message} Confirm your e-mail address to send {_INVITATIONS_PER_USER} an hour."
        )
        raise RateLimitExceeded(message, headers=exc.headers) from exc


async def _take(
    client: redis.asyncio.Redis, limits: Mapping[str, int], window_s: int, what: str
) -> None:
    for count in await _count(client, limits, window_s):
        if count.is_exceeded:
            raise RateLimitExceeded(
                f"Too many {what} from here; try again in {count.reset_s} s.",
                headers={"Retry-After": str(count.reset_s)},
            )


async def count_dashboard_call(
    client: redis.asyncio.Redis, user_id: UUID, limit: int
) -> dict[str, str]:
    """Count one call; return its RateLimit headers (none without Redis).

    Raises RateLimitExceeded.
    """
    for count in await _count(client, {f"limit:dashboard:{user_id}": limit}, DASHBOARD_WINDOW_S):
        headers = count.headers("dashboard", DASHBOARD_WINDOW_S)
        if count.is_exceeded:
            raise RateLimitExceeded(
                f"You have made {limit} dashboard API calls in a minute, the limit; try again in"
                f" {count.reset_s} s.",
                headers=headers,
            )
        return headers
    return {}


async def _count(
    client: redis.asyncio.Redis, limits: Mapping[str, int], window_s: int
) -> list[Count]:
    """Count one try against each name, in one round trip; empty without Redis."""
    answers: list[Any] = []
    async with _optional():
        pipe = client.pipeline(transaction=True)
        for name in limits:
            pipe.incr(name)
            pipe.expire(name, window_s, nx=True)
            pipe.ttl(name)
        answers = await pipe.execute()
    tries = zip(limits.values(), answers[::3], answers[2::3], strict=bool(answers))
    return [
        Count(limit=limit, used=int(used), reset_s=max(1, int(ttl_s)))
        for limit, used, ttl_s in tries
    ]


@asynccontextmanager
async def _optional() -> AsyncIterator[None]:
    try:
        # The client itself would try again for seconds; a person waits at the other end.
        async with asyncio.timeout(_REDIS_PATIENCE_S):
            yield
    except (redis.RedisError, OSError, TimeoutError) as exc:
        log.warning("limits.unreachable", error=type(exc).__name__)


def _account(email: str) -> str:
    """Hashed: Redis need not know who tries to log in."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()[:32]


def _is_this_machine(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def network_of(address: str) -> str:
    """One person holds a whole IPv6 /64; an IPv4 address inside IPv6, as a server on `::` sees it,
    is itself.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address or "unknown"
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
