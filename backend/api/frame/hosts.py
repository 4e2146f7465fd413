"""Which host names a local server answers to: only its own, against DNS rebinding.

A browser lets a page talk to whatever the page's host name resolves to. Once that is 127.0.0.1, a
web page could register at a developer's server and reach the network that its connectors reach.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Final
from urllib.parse import urlsplit

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_FOR_EVERY_HOST: Final = frozenset({"/healthz", "/readyz"})
_REFUSAL: Final = {
    "error": (
        "This server is local and answers to localhost only; set API_BASE_URL to reach it by"
        " another name."
    ),
    "code": "MISDIRECTED_REQUEST",
    "details": {},
}


class LocalHosts:
    """ASGI, outermost. Answers to localhost, `hosts` and the hosts of `origins`."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        origin_hosts = {urlsplit(origin).hostname or "" for origin in origins}
        self._names = _LOCAL | {
            f"[{host}]" if ":" in host else host.lower() for host in (*hosts, *origin_hosts)
        }

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan" or self._is_ours(scope) or scope["path"] in _FOR_EVERY_HOST:
            return self._app(scope, receive, send)
        return _refuse(scope, receive, send)

    def _is_ours(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1").lower()
                bare = host if host.endswith("]") else host.rpartition(":")[0] or host
                return bare in self._names
        return True  # browsers always send it


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "Not a name of this server"})
        return
    body = orjson.dumps(_REFUSAL)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
