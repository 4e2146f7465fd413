"""Connections of one address: its share, and no more of those that the web server takes.

The server accepts anyone who comes until it is full, and a request is seen only once its headers
are here. So a thread looks at the process's own sockets once a second: over
CONNECTIONS_PER_ADDRESS, those opened last are shut down, which the server takes for a client that
left. Proxies in TRUSTED_PROXIES speak for many, and are not counted.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import structlog

from backend.api.frame.proxies import TrustedProxies
from backend.api.frame.sockets import borrowed, is_accepted
from backend.services.limits.logins import network_of

log = structlog.get_logger()


class ConnectionLimit:
    """Closes what an address holds over `most` connections to `port`; 0: any number."""

    def __init__(self, port: int, most: int, proxies: TrustedProxies) -> None:
        self._port = port
        self._most = most
        self._proxies = proxies

    def look(self, descriptors: list[int]) -> None:
        if not self._most or len(descriptors) <= self._most:  # then no address has more
            return
        held: dict[str, list[int]] = {}
        for descriptor, address in self._peers(descriptors):
            if address not in self._proxies:
                held.setdefault(network_of(address), []).append(descriptor)
        for network, theirs in held.items():
            if len(theirs) > self._most:
                self._close(network, theirs[self._most :])

    def _peers(self, descriptors: list[int]) -> Iterator[tuple[int, str]]:
        """Yield who is at the other end of each connection that was made to our port."""
        for descriptor in descriptors:
            with suppress(OSError), borrowed(descriptor) as connection:
                if is_accepted(connection, self._port):
                    yield descriptor, connection.getpeername()[0]

    def _close(self, network: str, descriptors: list[int]) -> None:
        closed = 0
        for descriptor in descriptors:
            # It may be another connection's number by now.
            with suppress(OSError), borrowed(descriptor) as connection:
                if (
                    is_accepted(connection, self._port)
                    and network_of(connection.getpeername()[0]) == network
                ):
                    connection.shutdown(socket.SHUT_RDWR)
                    closed += 1
        log.warning(
            "connections.closed",
            network=network,
            count=closed,
            limit=self._most,
            remedy=(
                "if this is your proxy, name it in TRUSTED_PROXIES; else raise"
                " CONNECTIONS_PER_ADDRESS"
            ),
        )
