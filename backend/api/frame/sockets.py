"""This process's sockets, as a thread sees them: the web server has no hook for its connections."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Final, Protocol

import structlog

log = structlog.get_logger()

CHECK_EVERY_S: Final = 1.0
_DESCRIPTORS: Final = next(
    (path for path in (Path("/proc/self/fd"), Path("/dev/fd")) if path.is_dir()), None
)


class SocketLimit(Protocol):
    """Closes connections that break its rule."""

    def check(self, descriptors: list[int]) -> None:
        """`descriptors`: the process's open files, sorted: the higher ones were mostly opened
        later.
        """


def enforce(*limits: SocketLimit) -> None:
    """Let each limit check the sockets every CHECK_EVERY_S, for as long as the process runs."""
    if _DESCRIPTORS is not None:
        threading.Thread(target=_run, args=limits, name="sockets", daemon=True).start()


def _run(*limits: SocketLimit) -> None:
    while True:
        time.sleep(CHECK_EVERY_S)
        for limit in limits:
            try:
                limit.check(open_descriptors())
            except Exception:  # whatever happens, the thread must go on: it holds all the limits
                log.exception("connections.look_failed")


def open_descriptors() -> list[int]:
    """Return the numbers of this process's open files, sorted."""
    if _DESCRIPTORS is None:
        return []
    return sorted(int(name) for name in os.listdir(_DESCRIPTORS))  # noqa: PTH208 (a thousand names and no Path)


def duplicate(descriptor: int) -> socket.socket:
    """Return a socket on a copy of `descriptor`: closing it leaves the server's socket open.

    Raises OSError.
    """
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def is_accepted(connection: socket.socket, port: int) -> bool:
    """Whether the connection was made to our `port`. Raises OSError."""
    return (
        connection.family in {socket.AF_INET, socket.AF_INET6}
        and connection.getsockname()[1] == port
    )
