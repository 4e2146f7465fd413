"""One limit for all requests of an address, counted in this process.

Without Redis, because it stands before everything: a flood must cost nothing. With several web
processes an address may make the limit's number in each. Three things are let through. Sends with a
key are limited by their key, and one backend may send thousands a second. Providers' callbacks come
as fast; their route counts those that are no provider's. Loopback is this machine: the operator, or
a proxy that TRUSTED_PROXIES does not name, behind which everybody is one address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from time import monotonic
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from backend.api.frame.proxies import client_of
from backend.errors import RateLimitExceeded
from backend.services.limits.logins import network_of

_WINDOW_S: Final = 60.0
_KEY_SENDS: Final = ("/api/v1/messages", "/api/v1/send")
CALLBACKS: Final = "/api/v1/callbacks/"


class AddressLimit:
    """A sliding window of a minute, from the counts of this and the last whole one."""

    def __init__(
        self,
        limit: int,
        trusted_proxies: tuple[str, ...] = (),
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._limit = limit
        self._trusted = trusted_proxies
        self._clock = clock
        self._began_at = clock()
        self._counts: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def check(self, scope: Scope) -> None:
        """Count one request. Raises RateLimitExceeded."""
        path = scope["path"]
        if not path.startswith(CALLBACKS) and not (
            scope["method"] == "POST" and path.startswith(_KEY_SENDS)
        ):
            self.count_caller(scope)

    def count_caller(self, scope: Scope) -> None:
        """Count one request, whatever it asks for. Raises RateLimitExceeded."""
        if not self._limit:
            return
        network = _network(client_of(HTTPConnection(scope), self._trusted).address)
        if network is not None:
            self.count(network)

    def count(self, network: str) -> None:
        elapsed = self._clock() - self._began_at
        if elapsed >= _WINDOW_S:
            self._before = self._counts if elapsed < 2 * _WINDOW_S else {}
            self._counts = {}
            self._began_at += elapsed // _WINDOW_S * _WINDOW_S
            elapsed %= _WINDOW_S
        used = self._counts.get(network, 0) + 1
        if used + self._before.get(network, 0) * (1 - elapsed / _WINDOW_S) > self._limit:
            wait_s = max(1, round(_WINDOW_S - elapsed))
            raise RateLimitExceeded(
                f"Your address has made {self._limit} requests in a minute, the limit; try again in"
                f" {wait_s} s.",
                headers={
                    "RateLimit-Policy": f'"address";q={self._limit};w={_WINDOW_S:.0f}',
                    "RateLimit": f'"address";r=0;t={wait_s}',
                    "Retry-After": str(wait_s),
                },
            )
        self._counts[network] = used


@lru_cache(maxsize=4096)
def _network(address: str) -> str | None:
    """Return what counts as one address; None for this machine itself."""
    try:
        if ipaddress.ip_address(address).is_loopback:
            return None
    except ValueError:
        return address or None
    return network_of(address)
