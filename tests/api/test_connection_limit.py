"""Connections of one address, on sockets of this process."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from backend.api.frame.connection_limit import ConnectionLimit
from backend.api.frame.proxies import TrustedProxies
from backend.api.frame.sockets import open_descriptors

HELD = 40


class Listener:
    """A server that takes anyone who comes, and the clients' ends."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._ends: list[socket.socket] = []

    def connect(self, count: int) -> list[socket.socket]:
        clients = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self.port))
            client.setblocking(False)
            accepted, _ = self._server.accept()
            clients.append(client)
            self._ends += (client, accepted)
        return clients

    def close(self) -> None:
        for end in (self._server, *self._ends):
            end.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def _is_open(client: socket.socket) -> bool:
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True


def test_an_address_keeps_its_share_of_connections_and_loses_the_latest(listener: Listener) -> None:
    clients = listener.connect(HELD)
    ConnectionLimit(listener.port, 30, TrustedProxies(())).check(open_descriptors())
    assert [_is_open(client) for client in clients] == [True] * 30 + [False] * 10


def test_connections_to_elsewhere_are_left_alone(listener: Listener) -> None:
    other = Listener()
    clients = other.connect(HELD)
    ConnectionLimit(listener.port, 30, TrustedProxies(())).check(open_descriptors())
    assert all(_is_open(client) for client in clients)
    other.close()


def test_a_trusted_proxy_speaks_for_many(listener: Listener) -> None:
    clients = listener.connect(HELD)
    ConnectionLimit(listener.port, 30, TrustedProxies(("127.0.0.0/8",))).check(open_descriptors())
    assert all(_is_open(client) for client in clients)
