"""The product with clients that send slowly and processes that hang: everyone else is served."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.runtime.conftest import Up

pytestmark = pytest.mark.slow

_SLOW: Final = 2000
_KEPT: Final = 50
_HEADERS: Final = (
    b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
)


@pytest.fixture(scope="module")
def product(short_dir: Path) -> Iterator[Up]:
    environment = {"WATCHDOG_S": "8", "SLOW_BODIES_PER_ADDRESS": str(_KEPT), "BODY_TIMEOUT_S": "12"}
    product = Up(short_dir / "slow", env=environment)
    product.start_and_wait()
    yield product
    product.clean_up()


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many sockets as the system allows this process to open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = before[1]
    if hard != resource.RLIM_INFINITY and hard < 2 * _SLOW:
        pytest.skip(f"the system lets a process open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(10_000, hard) if hard > 0 else 10_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _probe_s(port: int) -> float:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
    finally:
        connection.close()
    return time.perf_counter() - began


def _slow_bodies(port: int, stack: ExitStack) -> list[socket.socket]:
    """Open requests from 127.0.0.2 that send one byte of their bodies."""
    clients = []
    for _ in range(_SLOW):
        client = stack.enter_context(socket.socket())
        client.bind(("127.0.0.2", 0))
        client.settimeout(20)
        client.connect(("127.0.0.1", port))
        client.sendall(_HEADERS)
        client.setblocking(False)
        clients.append(client)
    return clients


def _what_came(clients: list[socket.socket]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for client in clients:
        try:
            text = client.recv(2000, socket.MSG_PEEK)
        except BlockingIOError:
            counts["waits"] += 1
        except ConnectionError:
            counts["closed"] += 1
        else:
            counts[text[9:12].decode() or "closed"] += 1
    return counts


@pytest.mark.skipif(
    sys.platform != "linux", reason="127.0.0.2 is an address of this machine on Linux alone"
)
def test_thousands_of_slow_bodies_do_not_slow_health_checks_of_others(
    product: Up, many_files: None
) -> None:
    with ExitStack() as stack:
        clients = _slow_bodies(product.port, stack)
        times = sorted(_probe_s(product.port) for _ in range(100))
        assert times[94] < 0.25
        # They do not stay: over the connections of an address closed, over its slow bodies refused,
        # the rest too late.
        product.until(
            lambda: _what_came(clients)["waits"] <= _KEPT, f"at most {_KEPT} slow bodies wait"
        )
        product.until(lambda: _what_came(clients)["waits"] == 0, "no slow body waits")
        came = _what_came(clients)
        assert came["429"] > 0
        assert came["408"] > 0
    assert "intake.bodies_refused" in product.log()


def test_a_web_process_that_hangs_is_replaced(product: Up) -> None:
    [serving] = psutil.Process(product.pid_of("web")).children()
    serving.send_signal(signal.SIGSTOP)
    parent = psutil.Process(product.pid_of("web"))
    product.until(
        lambda: [child.pid for child in parent.children()] not in ([], [serving.pid]),
        "another web process",
    )
    product.until(product.is_ready, "ready again")
    assert "watchdog.ended" in product.log()


def test_a_worker_that_hangs_is_started_again(product: Up) -> None:
    hung = product.pid_of("worker-1")
    os.kill(hung, signal.SIGSTOP)
    product.until(lambda: product.pid_of("worker-1") not in {0, hung}, "another worker")
    assert "worker-1 died, starting it again" in product.log()
