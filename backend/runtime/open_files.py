"""How many files and connections a process may have open: as many as the system lets it."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

_MOST_FILES: Final = 65_536
# macOS says "unlimited" and takes no more than this.
_MOST_FILES_ELSEWHERE: Final = 10_240
_MOST_CONNECTIONS: Final = 16_384
# Databases, Redis, providers, logs.
_SPARE_FILES: Final = 1024


def raise_file_limit() -> int:
    """Let this process and its children open as many files as they may; returns how many that
    are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (_MOST_FILES, _MOST_FILES_ELSEWHERE):
        expected = most if hard == resource.RLIM_INFINITY else min(most, hard)
        if soft == resource.RLIM_INFINITY or soft >= expected:
            break
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (expected, hard))
            return expected
    return _MOST_FILES if soft == resource.RLIM_INFINITY else soft


def most_connections(files: int) -> int:
    """Return how many connections a web process takes that may open `files` files."""
    return max(128, min(_MOST_CONNECTIONS, files - _SPARE_FILES))
