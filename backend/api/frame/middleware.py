"""The frame around every request, in one ASGI layer because the send path pays for each.

Request id in and out, body limit, CORS, security headers, unexpected errors, one log event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend import ids
from backend.api.frame.address_limit import AddressLimit
from backend.api.frame.cors import CorsPolicy, Headers
from backend.api.frame.errors import PROBLEM_JSON, error_response, to_app_error
from backend.errors import AppError, BadRequest, OriginNotAllowed, PayloadTooLarge
from backend.integers import whole_number
from backend.services.keys.origins import origin_host

log = structlog.get_logger()

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_SHARED: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
_API: Final[Headers] = [
    *_SHARED,
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]
# The docs page is a document of ours, with its scripts beside it; Swagger UI writes inline styles.
_DOCS: Final[Headers] = [
    *_SHARED,
    (b"referrer-policy", b"same-origin"),
    (
        b"content-security-policy",
        (
            b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
]


class FrameMiddleware:
    """Sets scope["state"]["request_id"], and sends what stands in scope["state"]["headers"].

    `larger_bodies`: where a path begins -> its own limit in bytes.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_limit_bytes: int,
        cors: CorsPolicy,
        address_limit: AddressLimit | None = None,
        larger_bodies: Mapping[str, int] | None = None,
    ) -> None:
        self.app = app
        self._address_limit = address_limit
        self._limit = body_limit_bytes
        self._larger = tuple((larger_bodies or {}).items())
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self._limit
        for beginning, larger in self._larger:
            if scope["path"].startswith(beginning):
                limit = larger
        await _Exchange(self.app, limit, self._cors, scope, send).run(receive, self._address_limit)


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "_app", "_cors", "_extra", "_length", "_limit", "_origin", "_received", "_request_id",
        "_scope",
        "_send", "_started", "_status", "_wants_problem",
    )  # fmt: skip

    def __init__(
        self, app: ASGIApp, limit: int, cors: CorsPolicy, scope: Scope, send: Send
    ) -> None:
        self._app = app
        self._limit = limit
        self._cors = cors
        self._scope = scope
        self._send = send
        self._started = perf_counter()
        self._status = 0
        self._received = 0
        self._origin: bytes | None = None
        self._length: int | None = None
        self._request_id = ""
        self._wants_problem = False
        self._read_headers()
        self._extra: list[tuple[bytes, bytes]] = []
        # A dict of this request's own: a server may hand the same lifespan state to all of them.
        scope["state"] = {
            **scope.get("state", {}),
            "request_id": self._request_id,
            "headers": self._extra,
        }

    def _read_headers(self) -> None:
        for name, value in self._scope["headers"]:
            if name == b"content-length":
                self._length = whole_number(value.decode("latin-1"))
            elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                self._request_id = value.decode()
            elif name == b"origin":
                self._origin = value
            elif name == b"accept":
                self._wants_problem = PROBLEM_JSON.encode() in value
        if not self._request_id:
            self._request_id = ids.encode(ids.REQUEST, ids.new_id())

    async def run(self, receive: Receive, address_limit: AddressLimit | None) -> None:
        try:
            if address_limit is not None:
                address_limit.check(self._scope)
            if self._origin is not None and origin_host(self._origin.decode("latin-1")) is None:
                await self._refuse_origin(self._origin)
            elif self._origin is not None and self._is_preflight():
                await self._answer_preflight(self._origin)
            elif self._length is not None and self._length > self._limit:
                await self._answer(PayloadTooLarge(self._too_large(f"has {self._length} bytes")))
            elif self._length is None and self._scope["method"] not in _WITHOUT_BODY:
                await self._app(
                    self._scope, lambda: self._receive_counted(receive), self._send_framed
                )
            else:
                await self._app(self._scope, receive, self._send_framed)
        except Exception as exc:
            error = to_app_error(exc)
            if self._status:
                raise
            await self._answer(error)
        finally:
            self._log()

    def _is_preflight(self) -> bool:
        return self._scope["method"] == "OPTIONS" and any(
            name == b"access-control-request-method" for name, _ in self._scope["headers"]
        )

    async def _refuse_origin(self, origin: bytes) -> None:
        """Before anything takes it apart or writes it into an answer."""
        self._origin = None
        shown = origin.decode(errors="replace")[:80]
        await self._answer(
            BadRequest(
                f"Origin '{shown}' is not an origin; write scheme and host: https://example.com"
            )
        )

    async def _answer_preflight(self, origin: bytes) -> None:
        headers = self._cors.preflight(self._scope["path"], origin)
        if headers is None:
            shown = origin.decode(errors="replace")
            await self._answer(
                OriginNotAllowed(
                    f"Pages of {shown} may not call this; add the origin to ALLOWED_ORIGINS."
                )
            )
            return
        self._origin = None  # the headers are here already
        await self._send_framed({"type": "http.response.start", "status": 204, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    async def _receive_counted(self, receive: Receive) -> Message:
        """A chunked body says no length: count what arrives."""
        message = await receive()
        self._received += len(message.get("body", b""))
        if self._received > self._limit:
            # FastAPI passes on only this class from where it reads a body.
            raise HTTPException(413, self._too_large("is larger"))
        return message

    def _too_large(self, what: str) -> str:
        return f"The body {what}; the limit is {self._limit} bytes."

    async def _send_framed(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            path: str = self._scope["path"]
            headers: list[Any] = [
                *message.get("headers", ()),
                *(_DOCS if path.startswith("/docs") else _API),
                (b"x-request-id", self._request_id.encode()),
            ]
            if self._extra:
                headers += self._extra
            if self._origin is not None:
                headers += self._cors.headers(path, self._origin)
            message["headers"] = headers
        await self._send(message)

    async def _answer(self, error: AppError) -> None:
        response = error_response(error, self._request_id, self._wants_problem)
        await response(self._scope, _nothing_more, self._send_framed)

    def _log(self) -> None:
        status = self._status
        # 0: the client went away before an answer.
        write = log.debug if 200 <= status < 400 else log.warning if status >= 500 else log.info
        write(
            "http.request",
            method=self._scope["method"],
            path=self._scope["path"],
            status=status,
            duration_ms=round((perf_counter() - self._started) * 1000, 1),
            request_id=self._request_id,
        )


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}
