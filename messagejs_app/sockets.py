"""The websockets' door: how many an address and the process may hold, how big a message is, and how fast they come.

It stands before everything that reads a message. What is over a limit costs its sender the socket, or waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.services.accounts.limits import network_of

log = structlog.get_logger(__name__)

# Two of a template's texts at their greatest length, in characters of four bytes.
MOST_BYTES: Final = 640 * 1024
MOST_SOCKETS: Final = 2_048
# Nobody types or clicks as fast. What comes faster waits its turn.
PER_SECOND: Final = 30.0
AT_ONCE: Final = 120.0
_TOO_BIG: Final = 1009
_NOT_TEXT: Final = 1003
_TELL_EVERY_S: Final = 60.0
# What Engine.IO knows; it falls over anything else, and the socket would stay half open.
_PACKETS: Final = frozenset("0123456")


@dataclass(frozen=True, slots=True)
class SocketLimits:
    of_address: int
    of_process: int = MOST_SOCKETS
    message_bytes: int = MOST_BYTES
    per_second: float = PER_SECOND
    at_once: float = AT_ONCE


class SocketDoor:
    """An ASGI application before another; `address_in` says where a socket comes from."""

    def __init__(self, application: ASGIApp, limits: SocketLimits, address_in: Callable[[Scope], str]) -> None:
        self._application = application
        self._limits = limits
        self._address_in = address_in
        self._open: Counter[str] = Counter()
        self._told_at = -_TELL_EVERY_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._application(scope, receive, send)
            return
        address = network_of(self._address_in(scope))
        if self._open[address] >= self._limits.of_address or self._open.total() >= self._limits.of_process:
            self._tell(address)
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": "Too many open tabs"})
            return
        self._open[address] += 1
        try:
            await self._application(scope, _Reader(receive, send, self._limits), send)
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def _tell(self, address: str) -> None:
        """Once a minute: a flood must not fill the log as well."""
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            log.warning("dashboard.sockets_full", address=address, open=self._open.total())


class _Reader:
    """A socket's `receive`, with its limits."""

    def __init__(self, receive: Receive, send: Send, limits: SocketLimits) -> None:
        self._receive, self._send, self._limits = receive, send, limits
        self._allowance = limits.at_once
        self._at = time.monotonic()

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return message
        problem = self._problem(message.get("text"))
        if problem is not None:
            await self._send({"type": "websocket.close", "code": problem})
            return {"type": "websocket.disconnect", "code": problem}
        await self._wait()
        return message

    def _problem(self, text: Any) -> int | None:
        if not isinstance(text, str) or text[:1] not in _PACKETS:
            return _NOT_TEXT
        limit = self._limits.message_bytes
        too_big = len(text) > limit or (not text.isascii() and len(text.encode("utf-8", "replace")) > limit)
        return _TOO_BIG if too_big else None

    async def _wait(self) -> None:
        """Hold back what comes too fast: its sender's own network fills up, nobody else waits."""
        now = time.monotonic()
        earned = (now - self._at) * self._limits.per_second
        self._allowance = min(self._limits.at_once, self._allowance + earned) - 1
        self._at = now
        if self._allowance < 0:
            await asyncio.sleep(-self._allowance / self._limits.per_second)
