"""Who is at the other end when proxies stand between: the one place that reads X-Forwarded-*.

Each hop's address was written by the hop after it, so the chain is read from the right and only as
far as the proxies in TRUSTED_PROXIES reach. `*` trusts anyone who connects, and nobody further: the
proxy's address is unknown or changes, as with a cloud's load balancer, but what it did not write
itself a client may have made up. With several proxies in a row, name their networks.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Iterable, Sequence
from functools import lru_cache
from typing import Final

import structlog
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.services.accounts.users import Client

log = structlog.get_logger()

ANYONE: Final = "*"
_SCHEMES: Final = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """The addresses and networks of TRUSTED_PROXIES."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._networks: list[_Network] = []
        for name in self._names - {ANYONE}:
            try:
                self._networks.append(ipaddress.ip_network(name, strict=False))
            except ValueError:  # a Unix socket's or a test client's name
                continue

    def __bool__(self) -> bool:
        return bool(self._names)

    def __contains__(self, address: str) -> bool:
        if ANYONE in self._names or address in self._names:
            return True
        return self._is_listed(address)

    def client_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """Return the client's address: `peer`, or who the trusted proxies say that it was.

        `forwarded_for`: the values of the X-Forwarded-For headers, as they came.
        """
        if peer not in self:
            return peer
        hops = [
            hop for value in forwarded_for for part in value.split(",") if (hop := part.strip())
        ]
        address = hops.pop() if hops else peer
        while hops and self._is_listed(address):
            address = hops.pop()
        return address

    def _is_listed(self, address: str) -> bool:
        if address in self._names:
            return True
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped  # as a server on "::" sees an IPv4 peer
        return any(parsed in network for network in self._networks)


@lru_cache(maxsize=64)
def trusted_proxies(names: tuple[str, ...]) -> TrustedProxies:
    """Return the proxies of a setting, parsed once."""
    return TrustedProxies(names)


class ProxyHeaders:
    """ASGI: `scope["client"]` and `scope["scheme"]` become those of the client, where a trusted
    proxy tells.
    """

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            peer = scope["client"][0] if scope.get("client") else ""
            if peer in self._proxies:
                self._apply(scope, peer)
        return self._app(scope, receive, send)

    def _apply(self, scope: Scope, peer: str) -> None:
        forwarded_for: list[str] = []
        scheme: str | None = None
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                forwarded_for.append(value.decode("latin-1"))
            elif name == b"x-forwarded-proto" and scheme is None:
                scheme = _SCHEMES.get(value.strip().lower())
        client = self._proxies.client_of(peer, forwarded_for)
        if client != peer:
            scope["client"] = (client, 0)
        if scheme is not None:
            is_socket = scope["type"] == "websocket"
            scope["scheme"] = scheme.replace("http", "ws") if is_socket else scheme


def client_of(connection: HTTPConnection, trusted: Iterable[str]) -> Client:
    """Return who is at the other end; X-Forwarded-For counts only when a trusted proxy sent it."""
    peer = connection.client.host if connection.client is not None else ""
    proxies = trusted_proxies(tuple(trusted))
    if not proxies and connection.headers.get("x-forwarded-for"):
        _warn_of_proxy(peer)
    address = (
        proxies.client_of(peer, connection.headers.getlist("x-forwarded-for")) if proxies else peer
    )
    return Client(address=address, user_agent=connection.headers.get("user-agent", ""))


@lru_cache(maxsize=8)
def _warn_of_proxy(address: str) -> None:
    """Once for each: behind a proxy that is not named everybody has its address, and shares one
    limit.
    """
    try:
        is_near = ipaddress.ip_address(address).is_private
    except ValueError:
        return
    if is_near:
        log.warning(
            "proxy.not_trusted",
            address=address,
            problem=(
                "it sends X-Forwarded-For, which is not believed: limits take all of its clients"
                " for one"
            ),
            remedy=f"set TRUSTED_PROXIES={address} if it is your proxy",
        )
