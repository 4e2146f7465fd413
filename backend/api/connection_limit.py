"""Connections of one address: its share, and no more of those that the web server takes.

The server accepts whoever comes until it is full, and a request is seen only once its headers are here.
So a thread looks at the process's own sockets once a second: over CONNECTIONS_PER_ADDRESS, those
opened last are shut down, which the server takes for a client that left. Proxies in TRUSTED_PROXIES speak
for many, and are not counted.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from backend.api.proxies import TrustedProxies
from backend.services.accounts.limits import network_of

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 1.0
_DESCRIPTORS: Final = next((path for path in (Path("/proc/self/fd"), Path("/dev/fd")) if path.is_dir()), None)


class ConnectionLimit:
    """Closes what an address holds over `most` connections to `port`; `start` looks every second."""

    def __init__(self, port: int, most: int, proxies: TrustedProxies) -> None:
        self._port = port
        self._most = most
        self._proxies = proxies

    def start(self) -> None:
        if self._most and _DESCRIPTORS is not None:
            threading.Thread(target=self._run, name="connection-limit", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY_S)
            try:
                self.look()
            except Exception:  # a thread that ends takes the limit with it, and this one has to last
                log.exception("connections.look_failed")

    def look(self) -> None:
        descriptors = _open_descriptors()
        if len(descriptors) <= self._most:  # so has every address
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
            with suppress(OSError), _borrowed(descriptor) as connection:
                if connection.family in {socket.AF_INET, socket.AF_INET6} and self._is_ours(connection):
                    yield descriptor, connection.getpeername()[0]

    def _is_ours(self, connection: socket.socket) -> bool:
        port: int = connection.getsockname()[1]
        return port == self._port

    def _close(self, network: str, descriptors: list[int]) -> None:
        closed = 0
        for descriptor in descriptors:
            # It may be another connection's number by now.
            with suppress(OSError), _borrowed(descriptor) as connection:
                if self._is_ours(connection) and network_of(connection.getpeername()[0]) == network:
                    connection.shutdown(socket.SHUT_RDWR)
                    closed += 1
        log.warning(
            "connections.closed",
            network=network,
            count=closed,
            limit=self._most,
            remedy="if this is your proxy, name it in TRUSTED_PROXIES; else raise CONNECTIONS_PER_ADDRESS",
        )


def _open_descriptors() -> list[int]:
    """Return the numbers of this process's open files, in rising order: the later ones mostly opened later."""
    if _DESCRIPTORS is None:
        return []
    return sorted(int(name) for name in os.listdir(_DESCRIPTORS))  # noqa: PTH208 (a thousand names and no Path)


def _borrowed(descriptor: int) -> socket.socket:
    """Return a socket on a copy of `descriptor`: closing it leaves the server's own open. Raises OSError."""
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
