"""Which names a local server answers to: its own.

Else a web page could point its name at this machine.

A browser lets a page talk to whatever its own name leads to. Once that is 127.0.0.1 (DNS
rebinding), the page could register at a developer's server and reach the network that its
connectors may reach.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Final
from urllib.parse import urlsplit

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_FOR_EVERYBODY: Final = frozenset({"/healthz", "/readyz"})
_REFUSAL: Final = {
    "error": (
        "This server is local and answers to localhost only; set API_BASE_URL to reach it by"
        " another name."
    ),
    "code": "MISDIRECTED_REQUEST",
    "details": {},
}


class LocalHosts:
    """ASGI, outermost. `hosts` and the hosts of `origins` are taken too."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        named = {urlsplit(origin).hostname or "" for origin in origins}
        self._names = _LOCAL | {
            f"[{host}]" if ":" in host else host.lower() for host in (*hosts, *named)
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan" or self._is_ours(scope) or scope["path"] in _FOR_EVERYBODY:
            return self._app(scope, receive, send)
        return _refuse(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1").lower()
                bare = host if host.endswith("]") else host.rpartition(":")[0] or host
                return bare in self._names
        return True  # no browser leaves it out


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "Not a name of this server"})
        return
    body = orjson.dumps(_REFUSAL)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
