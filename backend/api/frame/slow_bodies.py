"""How many bodies that do not arrive one address may keep open. Outermost, around API and pages.

The rule: after BODY_TIMEOUT_S, in which it may do anything, a body comes at least as fast as
BODY_BYTES_PER_S. Slow ones are counted by address, and over SLOW_BODIES_PER_ADDRESS the latest are
turned away. A body that arrives at once costs an entry in a set and nothing else: all that are
still waiting are checked twice a second, and no request has its own timer.
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

from backend.services.limits.subjects import network_of

log = structlog.get_logger()

_CHECK_EVERY_S: Final = 0.5
# A body that was checked less often is on its way, not slow.
_SLOW_AFTER_CHECKS: Final = 4


@dataclass(frozen=True, kw_only=True)
class TransferLimits:
    """How slowly bodies and answers may be transferred; 0 switches a limit off.

    `slow_bodies_per_address` counts in this process.
    """

    body_timeout_s: float
    body_bytes_per_s: int
    slow_bodies_per_address: int


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    code: str
    error: str


class SlowBodies:
    """ASGI. Inside what sets `scope["client"]`: the address is the client's, not the proxy's."""

    def __init__(
        self, app: ASGIApp, limits: TransferLimits, *, check_every_s: float = _CHECK_EVERY_S
    ) -> None:
        self._app = app
        self._limits = limits
        self._check_every_s = check_every_s
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
                raise  # canceled from elsewhere too: the server is stopping
            await _answer(body.refusal, scope, send)

    def begin(self, body: _Body) -> None:
        self._bodies.add(body)
        if self._timer is None:
            self._schedule(asyncio.get_running_loop())

    def end(self, body: _Body) -> None:
        self._bodies.discard(body)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._check_every_s, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._refuse_excess()
        if self._bodies:
            self._schedule(loop)

    def _refuse_excess(self) -> None:
        limits = self._limits
        slow: dict[str, list[_Body]] = {}
        refused: Counter[str] = Counter()
        for body in list(self._bodies):
            # By checks, not by the clock: while the loop is blocked or the machine asleep, nothing
            # reads what has arrived.
            body.age_s += self._check_every_s
            if body.is_late(limits):
                body.refuse(_late(body))
                refused[body.network] += 1
            elif body.age_s >= _SLOW_AFTER_CHECKS * self._check_every_s and body.refusal is None:
                slow.setdefault(body.network, []).append(body)
        if limit := limits.slow_bodies_per_address:
            for network, bodies in slow.items():
                for body in sorted(bodies, key=lambda body: -body.age_s)[limit:]:
                    body.refuse(_too_many(limit))
                    refused[network] += 1
        for network, count in refused.items():
            log.warning("intake.bodies_refused", network=network, count=count)


class _Body:
    """A request's body until it is complete."""

    __slots__ = (
        "_is_complete",
        "_receive",
        "_scope",
        "_slow_bodies",
        "age_s",
        "cancelling",
        "received",
        "refusal",
        "task",
    )

    def __init__(self, slow_bodies: SlowBodies, scope: Scope, receive: Receive) -> None:
        self._slow_bodies = slow_bodies
        self._scope = scope
        self._receive = receive
        self._is_complete = False
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
        if self._is_complete:
            return await self._receive()
        self._slow_bodies.begin(self)
        try:
            message = await self._receive()
        finally:
            self._slow_bodies.end(self)
        if message.get("more_body"):
            self.received += len(message.get("body", b""))
        else:
            self._is_complete = True
        return message

    def is_late(self, limits: TransferLimits) -> bool:
        if not limits.body_timeout_s or not limits.body_bytes_per_s or self.refusal is not None:
            return False
        earned_s = self.received / limits.body_bytes_per_s
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


def _too_many(limit: int) -> _Refusal:
    error = (
        f"Your address has more than {limit} requests open whose bodies do not arrive; let those"
        " end first."
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
