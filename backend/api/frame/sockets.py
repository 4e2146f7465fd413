"""This process's sockets, seen from a thread beside the web server, which has no hook for its
connections.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Final, Protocol

import structlog

log = structlog.get_logger()

LOOK_EVERY_S: Final = 1.0
_DESCRIPTORS: Final = next(
    (path for path in (Path("/proc/self/fd"), Path("/dev/fd")) if path.is_dir()), None
)


class Watcher(Protocol):
    def look(self, descriptors: list[int]) -> None:
        """`descriptors`: the process's open files, in rising order: the later ones mostly opened
        later.
        """


def watch(*watchers: Watcher) -> None:
    """Let each of them look every LOOK_EVERY_S, for as long as the process runs."""
    if _DESCRIPTORS is not None:
        threading.Thread(target=_run, args=watchers, name="own-sockets", daemon=True).start()


def _run(*watchers: Watcher) -> None:
    while True:
        time.sleep(LOOK_EVERY_S)
        for watcher in watchers:
            try:
                watcher.look(open_descriptors())
            except (
                Exception
            ):  # a thread that ends takes the limits with it, and this one has to last
                log.exception("connections.look_failed")


def open_descriptors() -> list[int]:
    """Return the numbers of this process's open files, sorted."""
    if _DESCRIPTORS is None:
        return []
    return sorted(int(name) for name in os.listdir(_DESCRIPTORS))  # noqa: PTH208 (a thousand names and no Path)


def borrowed(descriptor: int) -> socket.socket:
    """Return a socket on a copy of `descriptor`: closing it leaves the server's own open.

    Raises OSError.
    """
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def is_accepted(connection: socket.socket, port: int) -> bool:
    """Tell whether it was made to our `port`. Raises OSError."""
    return (
        connection.family in {socket.AF_INET, socket.AF_INET6}
        and connection.getsockname()[1] == port
    )
