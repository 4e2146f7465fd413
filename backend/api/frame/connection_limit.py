"""How many connections one address may hold, of those that the web server accepts.

The server accepts every client until it is full, and a request is only seen once its headers have
arrived. So a thread checks the process's sockets once a second: over CONNECTIONS_PER_ADDRESS, those
opened last are shut down, which looks to the server as if the client had left. Proxies in
TRUSTED_PROXIES speak for many clients, and are not counted.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import structlog

from backend.api.frame.proxies import TrustedProxies
from backend.api.frame.sockets import duplicate, is_accepted
from backend.services.limits.subjects import network_of

log = structlog.get_logger()


class ConnectionLimit:
    """Closes what an address holds over `limit` connections to `port`; 0: any number."""

    def __init__(self, port: int, limit: int, proxies: TrustedProxies) -> None:
        self._port = port
        self._limit = limit
        self._proxies = proxies

    def check(self, descriptors: list[int]) -> None:
        if not self._limit or len(descriptors) <= self._limit:  # then no address is over it
            return
        held: dict[str, list[int]] = {}
        for descriptor, address in self._peers(descriptors):
            if address not in self._proxies:
                held.setdefault(network_of(address), []).append(descriptor)
        for network, connections in held.items():
            if len(connections) > self._limit:
                self._close(network, connections[self._limit :])

    def _peers(self, descriptors: list[int]) -> Iterator[tuple[int, str]]:
        """Yield the address at the other end of each connection that was made to our port."""
        for descriptor in descriptors:
            with suppress(OSError), duplicate(descriptor) as connection:
                if is_accepted(connection, self._port):
                    yield descriptor, connection.getpeername()[0]

    def _close(self, network: str, descriptors: list[int]) -> None:
        closed = 0
        for descriptor in descriptors:
            # By now the number may belong to another connection.
            with suppress(OSError), duplicate(descriptor) as connection:
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
            limit=self._limit,
            remedy=(
                "if this is your proxy, name it in TRUSTED_PROXIES; otherwise"
                " raise CONNECTIONS_PER_ADDRESS"
            ),
        )
