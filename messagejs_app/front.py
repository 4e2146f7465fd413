"""The one port's front door: the API's paths to the API, everything else to the pages, by origin."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_API_TREES: Final = ("/api", "/auth", "/docs", "/sdk")
_API_PATHS: Final = frozenset({"/metrics", "/healthz", "/readyz"})


def front(api: ASGIApp, pages: ASGIApp, *, allowed_origins: frozenset[str]) -> ASGIApp:
    """Send the API's paths to the API and the rest, from our own or an allowed origin, to the pages."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await pages(scope, receive, send)
        elif _is_api(scope["path"]):
            await api(scope, receive, send)
        elif _may_use_pages(scope, allowed_origins):
            await pages(_without_origin(scope), receive, _relative_redirects(scope, send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "Origin not allowed"})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"This origin may not use the dashboard.\n"})

    return dispatch


def _is_api(path: str) -> bool:
    return path in _API_PATHS or any(path == tree or path.startswith(f"{tree}/") for tree in _API_TREES)


def _may_use_pages(scope: Scope, allowed_origins: frozenset[str]) -> bool:
    """Tell whether a browser may: the page's own origin, whatever name or port it came by, or a listed one."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin")
    if origin is None:
        return True
    name = origin.decode("latin-1")
    return urlsplit(name).netloc == headers.get(b"host", b"").decode("latin-1") or name in allowed_origins


def _without_origin(scope: Scope) -> Scope:
    """Drop the checked header: Reflex knows a fixed list only, and would refuse our own other names."""
    return {**scope, "headers": [header for header in scope["headers"] if header[0] != b"origin"]}


def _relative_redirects(scope: Scope, send: Send) -> Send:
    """Cut our own host from redirects: behind a TLS proxy the scheme that we know is not the browser's."""
    host = dict(scope["headers"]).get(b"host", b"")

    async def send_relative(message: Message) -> None:
        if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
            absolute = (b"http://" + host + b"/", b"https://" + host + b"/")
            message["headers"] = [
                (name, b"/" + value.split(b"/", 3)[3] if name == b"location" and value.startswith(absolute) else value)
                for name, value in message["headers"]
            ]
        await send(message)

    return send_relative
