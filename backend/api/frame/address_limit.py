"""One limit for all requests of an address, counted in this process.

Without Redis, because it comes before everything else: a flood must cost nothing. With several web
processes, an address may make that many requests to each. Three kinds of request are let through:

- Sends with a key are limited by their key, and one backend may send thousands a second.
- Providers' callbacks arrive as fast; their route counts those that no provider has signed.
- Loopback is this machine: the operator, or a proxy that TRUSTED_PROXIES does not name, behind
  which everybody has the same address.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from time import monotonic
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from backend.api.frame.proxies import client_of
from backend.errors import RateLimitExceeded
from backend.services.limits.local_window import LocalWindow
from backend.services.limits.subjects import is_this_machine, network_of

_WINDOW_S: Final = 60.0
_KEY_SENDS: Final = ("/api/v1/messages", "/api/v1/send")
CALLBACKS: Final = "/api/v1/callbacks/"


class AddressLimit:
    """`limit` requests of an address within any minute; 0: any number."""

    def __init__(
        self,
        limit: int,
        trusted_proxies: tuple[str, ...] = (),
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._limit = limit
        self._trusted_proxies = trusted_proxies
        self._window = LocalWindow("address", limit, _WINDOW_S, clock=clock)

    def check(self, scope: Scope) -> None:
        """Count one request. Raises RateLimitExceeded."""
        path = scope["path"]
        is_send = scope["method"] == "POST" and path.startswith(_KEY_SENDS)
        if not is_send and not path.startswith(CALLBACKS):
            self.count_caller(scope)

    def count_caller(self, scope: Scope) -> None:
        """Count one request, whatever it asks for. Raises RateLimitExceeded."""
        if not self._limit:
            return
        network = _network(client_of(HTTPConnection(scope), self._trusted_proxies).address)
        if network is not None:
            self.count(network)

    def count(self, network: str) -> None:
        allowance = self._window.count(network)
        if allowance.refused_by is not None:
            raise RateLimitExceeded(
                f"Your address has made {self._limit} requests in a minute, the limit; try again in"
                f" {allowance.refused_by.reset_s} s.",
                headers=allowance.headers(),
            )


@lru_cache(maxsize=4096)
def _network(address: str) -> str | None:
    """Return what counts as one address; None where nothing is counted: this machine, a socket
    without an address.
    """
    if not address or is_this_machine(address):
        return None
    return network_of(address)
