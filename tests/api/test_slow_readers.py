"""Answers that are not read, on sockets of this process."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from backend.api.frame.proxies import TrustedProxies
from backend.api.frame.slow_bodies import TransferLimits
from backend.api.frame.slow_readers import SlowReaders
from backend.api.frame.sockets import open_descriptors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is queued")

LIMITS = TransferLimits(body_timeout_s=20, body_bytes_per_s=4096, slow_bodies_per_address=100)
CHUNK = b"x" * 65536


class Server:
    """Answers each connection with more than its reader takes."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.socket())
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(50)
        self.port: int = self._listener.getsockname()[1]

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return the reader's end and the server's."""
        reader = self._stack.enter_context(socket.socket())
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", self.port))
        accepted = self._stack.enter_context(self._listener.accept()[0])
        for end in (reader, accepted):
            end.setblocking(False)
        return reader, accepted

    def connect_unread(self) -> tuple[socket.socket, socket.socket]:
        reader, accepted = self.connect()
        fill(accepted)
        return reader, accepted


def fill(accepted: socket.socket) -> None:
    with suppress(BlockingIOError):
        while accepted.send(CHUNK):
            pass


def is_open(accepted: socket.socket) -> bool:
    try:
        accepted.send(b"x")
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def check(readers: SlowReaders, times: int) -> None:
    for _ in range(times):
        readers.check(open_descriptors())


@pytest.fixture
def server() -> Iterator[Server]:
    with ExitStack() as stack:
        yield Server(stack)


def test_who_never_reads_an_answer_is_cut_off_after_its_time(server: Server) -> None:
    _, accepted = server.connect_unread()
    _, idle = server.connect()
    readers = SlowReaders(server.port, LIMITS, TrustedProxies(("127.0.0.0/8",)))
    check(readers, 21)
    assert is_open(accepted)
    check(readers, 1)
    assert not is_open(accepted)
    assert is_open(idle)


def test_who_reads_at_the_slowest_rate_keeps_the_connection(server: Server) -> None:
    reader, accepted = server.connect_unread()
    readers = SlowReaders(server.port, LIMITS, TrustedProxies(()))
    taken = 0
    for second in range(60):
        fill(accepted)
        while taken < (second + 1) * 3 * 4096:
            try:
                taken += len(reader.recv(65536))
            except BlockingIOError:
                break
        check(readers, 1)
    assert taken > 10 * 4096
    assert is_open(accepted)
    # and no longer, once it stops
    check(readers, 25 + taken // 4096 + len(CHUNK) // 512)
    assert not is_open(accepted)


def test_what_drains_starts_afresh(server: Server) -> None:
    reader, accepted = server.connect()
    readers = SlowReaders(server.port, LIMITS, TrustedProxies(()))
    for _ in range(3):
        fill(accepted)
        check(readers, 15)
        accepted_all = False
        while not accepted_all:
            reader.setblocking(True)
            reader.settimeout(0.3)
            try:
                reader.recv(1 << 20)
            except TimeoutError:
                accepted_all = True
        check(readers, 1)
    assert is_open(accepted)


def test_an_address_has_so_many_slow_readers_and_loses_the_latest(server: Server) -> None:
    limits = TransferLimits(body_timeout_s=20, body_bytes_per_s=4096, slow_bodies_per_address=3)
    early = [server.connect_unread() for _ in range(3)]
    readers = SlowReaders(server.port, limits, TrustedProxies(()))
    check(readers, 2)
    late = [server.connect_unread() for _ in range(2)]
    check(readers, 3)
    assert all(is_open(accepted) for _, accepted in (*early, *late))
    check(readers, 1)
    assert [is_open(accepted) for _, accepted in (*early, *late)] == [True] * 3 + [False] * 2


def test_a_trusted_proxy_has_slow_readers_of_many(server: Server) -> None:
    limits = TransferLimits(body_timeout_s=20, body_bytes_per_s=4096, slow_bodies_per_address=1)
    held = [server.connect_unread() for _ in range(4)]
    check(SlowReaders(server.port, limits, TrustedProxies(("127.0.0.0/8",))), 10)
    assert all(is_open(accepted) for _, accepted in held)


def test_a_number_given_again_is_another_connection(server: Server) -> None:
    readers = SlowReaders(server.port, LIMITS, TrustedProxies(()))
    _, accepted = server.connect_unread()
    check(readers, 20)
    _, other = server.connect_unread()
    os.dup2(other.fileno(), accepted.fileno())
    check(readers, 15)
    assert is_open(other)


def test_answers_from_other_ports_are_left_alone(server: Server) -> None:
    _, accepted = server.connect_unread()
    check(SlowReaders(server.port + 1, LIMITS, TrustedProxies(())), 60)
    assert is_open(accepted)
