"""The event loop of a worker's threads: uvloop, since most of their time goes into sockets."""

from __future__ import annotations

import asyncio
import sys


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's loop; asyncio's own on Windows, where there is no other."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 (not available everywhere)

    return uvloop.new_event_loop()
