"""The websockets' door: how many an address and the process may hold, how big a message is, and how
fast they come.

It stands before everything that reads a message. What is over a limit costs its sender the socket,
or waits.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.services.limits.logins import network_of

log = structlog.get_logger(__name__)

# Two of a template's texts at their greatest length, in characters of four bytes.
MOST_BYTES: Final = 640 * 1024
MOST_SOCKETS: Final = 2_048
# Nobody types or clicks as fast. What comes faster waits its turn.
PER_SECOND: Final = 30.0
AT_ONCE: Final = 120.0
_TOO_BIG: Final = 1009
_NOT_TEXT: Final = 1003
_TRY_AGAIN_LATER: Final = 1013
_WATCH_EVERY_S: Final = 1.0
_JUST_NOW_S: Final = 2.0
_RELIEVE_EVERY_S: Final = 10.0
# Socket.IO's connect packet.
_CONNECT: Final = "40"
_TELL_EVERY_S: Final = 60.0
# What Engine.IO knows; it falls over anything else, and the socket would stay half open.
_PACKETS: Final = frozenset("0123456")
_MEMORY: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = resource.getpagesize()


def resident_mb() -> float:
    """Return how much memory this process has, 0.0 where the system does not say."""
    try:
        pages = int(_MEMORY.read_text().split()[1])
    except OSError:
        return 0.0
    return pages * _PAGE_BYTES / 2**20


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """`strangers`: sockets that nobody is signed in at. `memory_mb`: of the process, 0: any."""

    of_address: int
    of_process: int = MOST_SOCKETS
    of_login: int = 50
    strangers_of_address: int = 16
    strangers: int = 200
    message_bytes: int = MOST_BYTES
    per_second: float = PER_SECOND
    at_once: float = AT_ONCE
    connect_within_s: float = 10.0
    # Engine.IO pings every 25 s and waits 20 s for the answer.
    silent_for_s: float = 60.0
    memory_mb: int = 0


class SocketDoor:
    """An ASGI application before another.

    `address_in` says where a socket comes from, `login_in` whose it is.

    The web server puts a message together before it shows us any of it, up to 64 MiB a socket. So
    who sends none that ends does not stay, and `watch` has to run.
    """

    def __init__(
        self,
        application: ASGIApp,
        limits: SocketLimits,
        address_in: Callable[[Scope], str],
        login_in: Callable[[Scope], Awaitable[UUID | None]],
        memory_mb: Callable[[], float] = resident_mb,
    ) -> None:
        self._application = application
        self._limits = limits
        self._address_in = address_in
        self._login_in = login_in
        self._memory_mb = memory_mb
        self._open: set[_Socket] = set()
        self._of_network: Counter[str] = Counter()
        self._of_login: Counter[UUID] = Counter()
        self._strangers: Counter[str] = Counter()
        self._told_at = -_TELL_EVERY_S
        self._relieved_at = -_RELIEVE_EVERY_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._application(scope, receive, send)
            return
        network = network_of(self._address_in(scope))
        login = await self._login_in(scope)
        if not self._has_room(network, login):
            self._tell(network)
            await receive()
            await send(
                {
                    "type": "websocket.close",
                    "code": _TRY_AGAIN_LATER,
                    "reason": "Too many open tabs",
                }
            )
            return
        socket = _Socket(network, login, receive, send, self._limits)
        self._count(socket, 1)
        self._open.add(socket)
        try:
            await self._application(scope, socket.receive, send)
        finally:
            self._open.discard(socket)
            self._count(socket, -1)

    def _has_room(self, network: str, login: UUID | None) -> bool:
        limits = self._limits
        if self._of_network[network] >= limits.of_address or len(self._open) >= limits.of_process:
            return False
        if login is not None:
            return self._of_login[login] < limits.of_login
        return (
            self._strangers[network] < limits.strangers_of_address
            and self._strangers.total() < limits.strangers
        )

    def _count(self, socket: _Socket, by: int) -> None:
        counts: list[tuple[Counter[Any], Any]] = [(self._of_network, socket.network)]
        if socket.login is None:
            counts.append((self._strangers, socket.network))
        else:
            counts.append((self._of_login, socket.login))
        for counter, key in counts:
            counter[key] += by
            if not counter[key]:
                del counter[key]

    async def watch(self) -> None:
        """End once a second who never connects or falls silent, and on short memory anyone who is
        silent just now.
        """
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            await self.look()

    async def look(self) -> None:
        now = time.monotonic()
        limits = self._limits
        ended = [
            socket
            for socket in self._open
            if now - socket.heard_at > limits.silent_for_s
            or (not socket.is_connected and now - socket.opened_at > limits.connect_within_s)
        ]
        if limits.memory_mb and self._memory_mb() > limits.memory_mb:
            ended += self._silent(now)
        for socket in ended:
            await socket.end()

    def _silent(self, now: float) -> list[_Socket]:
        """Return whose sockets make room: strangers' first; of who is signed in at the next look,
        if that was not it.

        Not again and again: it may be something else that takes the memory.
        """
        silent = [socket for socket in self._open if now - socket.heard_at > _JUST_NOW_S]
        strangers = [socket for socket in silent if socket.login is None]
        if not strangers:
            if now - self._relieved_at < _RELIEVE_EVERY_S:
                return []
            self._relieved_at = now
        chosen = strangers or silent
        if chosen:
            log.warning(
                "dashboard.memory_short", limit_mb=self._limits.memory_mb, ended=len(chosen)
            )
        return chosen

    def _tell(self, address: str) -> None:
        """Once a minute: a flood must not fill the log as well."""
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            log.warning("dashboard.sockets_full", address=address, open=len(self._open))


class _Socket:
    """One socket's `receive`, with its limits, and what is known of it."""

    def __init__(
        self, network: str, login: UUID | None, receive: Receive, send: Send, limits: SocketLimits
    ) -> None:
        self.network, self.login = network, login
        self.opened_at = self.heard_at = time.monotonic()
        self.is_connected = False
        self._receive, self._send, self._limits = receive, send, limits
        self._allowance = limits.at_once
        self._at = self.opened_at
        self._has_ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def end(self) -> None:
        """Close it, and let who waits for its next message go."""
        if not self._has_ended.done():
            self._has_ended.set_result(None)
            await self._send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})

    async def receive(self) -> Message:
        message = await self._next()
        if message["type"] != "websocket.receive":
            return message
        self.heard_at = time.monotonic()
        text = message.get("text")
        problem = self._problem(text)
        if problem is not None:
            await self._send({"type": "websocket.close", "code": problem})
            return {"type": "websocket.disconnect", "code": problem}
        self.is_connected = self.is_connected or str(text).startswith(_CONNECT)
        await self._wait()
        return message

    async def _next(self) -> Message:
        receiving = asyncio.ensure_future(self._receive())
        either: set[asyncio.Future[Any]] = {receiving, self._has_ended}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            return receiving.result()
        receiving.cancel()
        return {"type": "websocket.disconnect", "code": _TRY_AGAIN_LATER}

    def _problem(self, text: Any) -> int | None:
        if not isinstance(text, str) or text[:1] not in _PACKETS:
            return _NOT_TEXT
        limit = self._limits.message_bytes
        too_big = len(text) > limit or (
            not text.isascii() and len(text.encode("utf-8", "replace")) > limit
        )
        return _TOO_BIG if too_big else None

    async def _wait(self) -> None:
        """Hold back what comes too fast: its sender's own network fills up, nobody else waits."""
        now = time.monotonic()
        earned = (now - self._at) * self._limits.per_second
        self._allowance = min(self._limits.at_once, self._allowance + earned) - 1
        self._at = now
        if self._allowance < 0:
            await asyncio.sleep(-self._allowance / self._limits.per_second)
