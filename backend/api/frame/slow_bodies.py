"""What one address may keep open of bodies that do not arrive. Outermost, around API and pages.

The rule: a body comes at least as fast as BODY_BYTES_PER_S, after BODY_TIMEOUT_S in which it may do
as it likes; what is slow is counted by address, and over SLOW_BODIES_PER_ADDRESS the latest are
turned away. A body that is here at once costs a set's entry and nothing else: whatever is still
waiting is looked at twice a second, and no request has a timer of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.services.limits.logins import network_of

log = structlog.get_logger()

_LOOK_EVERY_S: Final = 0.5
# A body that was looked at less often is on its way, not slow.
_SLOW_AFTER_LOOKS: Final = 4


@dataclass(frozen=True, kw_only=True)
class IntakeLimits:
    """0 switches a limit off. `slow_bodies_per_address` counts in this process."""

    body_timeout_s: float
    body_bytes_per_s: int
    slow_bodies_per_address: int


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    code: str
    error: str


class Intake:
    """ASGI, inside whatever sets `scope["client"]`: the address is the client's, not the
    proxy's.
    """

    def __init__(
        self, app: ASGIApp, limits: IntakeLimits, *, look_every_s: float = _LOOK_EVERY_S
    ) -> None:
        self._app = app
        self._limits = limits
        self._look_every_s = look_every_s
        self._bodies: set[_Body] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            return self._exchange(scope, receive, send)
        return self._app(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(self, scope, receive)
        try:
            await self._app(scope, body.receive, send)
        except asyncio.CancelledError:
            if body.refusal is None or body.task.uncancel() > body.cancelling:
                raise  # somebody else's, too: the server stops
            await _answer(body.refusal, scope, send)

    def begin(self, body: _Body) -> None:
        self._bodies.add(body)
        if self._timer is None:
            self._schedule(asyncio.get_running_loop())

    def end(self, body: _Body) -> None:
        self._bodies.discard(body)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._look_every_s, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._check()
        if self._bodies:
            self._schedule(loop)

    def _check(self) -> None:
        limits = self._limits
        slow: dict[str, list[_Body]] = {}
        refused: Counter[str] = Counter()
        for body in list(self._bodies):
            # By looks, not by the clock: while the loop is held up or the machine asleep nobody
            # reads what came.
            body.age_s += self._look_every_s
            if body.is_late(limits):
                body.refuse(_late(body))
                refused[body.network] += 1
            elif body.age_s >= _SLOW_AFTER_LOOKS * self._look_every_s and body.refusal is None:
                slow.setdefault(body.network, []).append(body)
        most = limits.slow_bodies_per_address
        for network, bodies in slow.items() if most else ():
            for body in sorted(bodies, key=lambda body: -body.age_s)[most:]:
                body.refuse(_too_many(most))
                refused[network] += 1
        for network, count in refused.items():
            log.warning("intake.bodies_refused", network=network, count=count)


class _Body:
    """A request's body until it is whole."""

    __slots__ = (
        "_intake",
        "_is_whole",
        "_receive",
        "_scope",
        "age_s",
        "cancelling",
        "received",
        "refusal",
        "task",
    )

    def __init__(self, intake: Intake, scope: Scope, receive: Receive) -> None:
        self._intake = intake
        self._scope = scope
        self._receive = receive
        self._is_whole = False
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (called by a coroutine)
        self.task: asyncio.Task[Any] = task
        self.age_s = 0.0
        self.received = 0
        self.refusal: _Refusal | None = None
        self.cancelling = 0

    @property
    def network(self) -> str:
        return _network(self._scope)

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        self._intake.begin(self)
        try:
            message = await self._receive()
        finally:
            self._intake.end(self)
        if message.get("more_body"):
            self.received += len(message.get("body", b""))
        else:
            self._is_whole = True
        return message

    def is_late(self, limits: IntakeLimits) -> bool:
        if not limits.body_timeout_s or self.refusal is not None:
            return False
        earned_s = (
            self.received / limits.body_bytes_per_s if limits.body_bytes_per_s else float("inf")
        )
        return self.age_s > limits.body_timeout_s + earned_s

    def refuse(self, refusal: _Refusal) -> None:
        self.refusal = refusal
        self.cancelling = self.task.cancelling()
        self.task.cancel()


def _late(body: _Body) -> _Refusal:
    error = (
        f"The body did not arrive in time: {body.received} bytes in {body.age_s:g} s. Send it"
        " again, faster."
    )
    return _Refusal(408, "REQUEST_TIMEOUT", error)


def _too_many(most: int) -> _Refusal:
    error = (
        f"Your address has more than {most} requests open whose bodies do not arrive; let those end"
        " first."
    )
    return _Refusal(429, "RATE_LIMIT_EXCEEDED", error)


async def _answer(refusal: _Refusal, scope: Scope, send: Send) -> None:
    request_id = scope.get("state", {}).get("request_id", "")
    content = orjson.dumps(
        {"error": refusal.error, "code": refusal.code, "details": {}, "requestId": request_id}
    )
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
        (b"retry-after", b"1"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _network(scope: Scope) -> str:
    client = scope.get("client")
    return network_of(client[0] if client else "")
