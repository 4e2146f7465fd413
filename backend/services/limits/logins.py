"""How often someone may try a password or register: by account, by address and by log-in."""

from __future__ import annotations

from typing import Final

import redis.asyncio

from backend.services.access.access import UserPrincipal
from backend.services.limits.fixed_windows import FixedWindow, count_tries, redis_or_nothing
from backend.services.limits.subjects import hash_of_email, is_this_machine, network_of
from backend.settings import Settings

_LOGIN_WINDOW_S: Final = 15 * 60
_ACCOUNT_WINDOW_S: Final = 3600
_REGISTRATION_WINDOW_S: Final = 3600
# The limit of an account over all addresses, as a multiple of its limit at one.
_ADDRESSES_PER_ACCOUNT: Final = 10
_KNOWN_FOR_S: Final = 30 * 24 * 3600
_PROBLEM: Final = "Too many log-in attempts"


class LoginAttempts:
    """Counts a try before the password is checked, so that a burst cannot slip through.

    An account is limited at each address, so that a stranger's wrong passwords lock nobody else
    out; and more widely over all addresses except those where its password was right lately. This
    machine does not count as an address: it is the operator, or a proxy that TRUSTED_PROXIES does
    not name, behind which everybody has the same address.
    """

    def __init__(
        self, client: redis.asyncio.Redis, settings: Settings, *, email: str, address: str
    ) -> None:
        self._redis = client
        account, network = hash_of_email(email), network_of(address)
        self._everywhere = f"limit:login:account:{account}"
        self._here = f"limit:login:account:{account}:{network}"
        self._known = f"limit:login:known:{account}:{network}"
        self._address = None if is_this_machine(address) else f"limit:login:address:{network}"
        limit = settings.login_attempts_per_account
        self._windows = [FixedWindow(self._here, limit, _LOGIN_WINDOW_S)]
        if self._address is not None:
            self._windows.append(
                FixedWindow(self._address, settings.login_attempts_per_address, _LOGIN_WINDOW_S)
            )
        self._wide_window = FixedWindow(
            self._everywhere, limit * _ADDRESSES_PER_ACCOUNT, _ACCOUNT_WINDOW_S
        )

    async def take(self) -> None:
        """Raises RateLimitExceeded; the answer is the same whether the account exists or not."""
        here = await count_tries(self._redis, *self._windows)
        here.require(_PROBLEM)
        everywhere = await count_tries(self._redis, self._wide_window)
        if not everywhere.is_allowed and not await self._is_known():
            everywhere.require(_PROBLEM)

    async def give_back(self) -> None:
        """After a right password: the try does not count, and the address is known from now on."""
        async with redis_or_nothing():
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(self._here)
            pipe.decr(self._everywhere)
            if self._address is not None:
                pipe.decr(self._address)
            pipe.set(self._known, 1, ex=_KNOWN_FOR_S)
            await pipe.execute()

    async def _is_known(self) -> bool:
        values: list[bytes | None] = []
        async with redis_or_nothing():
            values = await self._redis.mget([self._known])
        return any(values)


class PasswordChecks:
    """Counts how often a log-in asks whether a password is right. Wrong passwords in other log-ins
    do not count against it.
    """

    def __init__(
        self, client: redis.asyncio.Redis, settings: Settings, person: UserPrincipal
    ) -> None:
        self._redis = client
        name = f"limit:password:{person.session_id}"
        self._window = FixedWindow(name, settings.login_attempts_per_account, _LOGIN_WINDOW_S)

    async def take(self) -> None:
        """Raises RateLimitExceeded."""
        allowance = await count_tries(self._redis, self._window)
        allowance.require("Too many wrong passwords from here")

    async def give_back(self) -> None:
        async with redis_or_nothing():
            await self._redis.delete(self._window.name)


async def count_registration(client: redis.asyncio.Redis, address: str, limit: int) -> None:
    """Count one try to register; `limit` 0 is off. Raises RateLimitExceeded."""
    if limit:
        name = f"limit:register:{network_of(address)}"
        allowance = await count_tries(client, FixedWindow(name, limit, _REGISTRATION_WINDOW_S))
        allowance.require("Too many registrations from here")
