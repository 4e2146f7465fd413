"""The one port's front door: the API's paths to the API, everything else to the pages, by origin
and by path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.services.accounts.local_paths import is_local_path
from backend.services.keys.origins import origin_host

_API_TREES: Final = ("/api", "/auth", "/docs", "/sdk")
_API_PATHS: Final = frozenset({"/metrics", "/healthz", "/readyz"})
# In no path of the pages, but in spellings of other hosts, once something decodes or shortens them.
_CROOKED: Final = re.compile(r"//|[\\%]|/\.{1,2}(?:/|$)|[^ -~]")
_OWN_HOST: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    sentence: str


def front(api: ASGIApp, pages: ASGIApp) -> ASGIApp:
    """Send the API's paths to the API and the rest to the pages."""

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        is_for_api = scope["type"] != "lifespan" and _is_api(scope["path"])
        await (api if is_for_api else pages)(scope, receive, send)

    return dispatch


def door(pages: ASGIApp, *, allowed_origins: frozenset[str]) -> ASGIApp:
    """Let to the pages what comes from them or an allowed origin, by a path that a page can
    have.
    """

    async def admit(scope: Scope, receive: Receive, send: Send) -> None:
        refusal = _refusal(scope, allowed_origins) if scope["type"] != "lifespan" else None
        if refusal is not None:
            await _refuse(refusal, scope, receive, send)
        elif scope["type"] == "http":
            await pages(_without_origin(scope), receive, _local_redirects(send))
        elif scope["type"] == "websocket":
            await pages(_without_origin(scope), receive, send)
        else:
            await pages(scope, receive, send)

    return admit


def _is_api(path: str) -> bool:
    return path in _API_PATHS or any(
        path == tree or path.startswith(f"{tree}/") for tree in _API_TREES
    )


def _refusal(scope: Scope, allowed_origins: frozenset[str]) -> _Refusal | None:
    headers = dict(scope["headers"])
    if _CROOKED.search(scope["path"]) or not scope.get("query_string", b"").isascii():
        return _Refusal(404, "There is no such page.")
    if b"origin" not in headers:
        return None
    origin = headers[b"origin"].decode("latin-1")
    host = origin_host(origin)
    if host is None:
        return _Refusal(
            400,
            "The Origin header is not an origin; it has a scheme and a host, as"
            " https://example.com.",
        )
    # The page's own, whatever name or port it came by, or a listed one.
    if host == headers.get(b"host", b"").decode("latin-1").lower() or origin in allowed_origins:
        return None
    return _Refusal(403, "This origin may not use the dashboard.")


async def _refuse(refusal: _Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    answer = "http.response"
    if scope["type"] == "websocket":
        await receive()
        answer = "websocket.http.response"
        if answer not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence[:120]})
            return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": f"{answer}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{answer}.body", "body": f"{refusal.sentence}\n".encode()})


def _without_origin(scope: Scope) -> Scope:
    """Drop the checked header: Reflex knows a fixed list only, and would refuse our own other
    names.
    """
    return {**scope, "headers": [header for header in scope["headers"] if header[0] != b"origin"]}


def _local_redirects(send: Send) -> Send:
    """Cut the host from redirects: behind a TLS proxy the scheme that we know is not the browser's.

    The pages redirect only to one another, so what is left must be a path of ours.
    """

    async def send_local(message: Message) -> None:
        if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
            headers = MutableHeaders(scope=message)
            if "location" in headers:
                target = _OWN_HOST.sub("", headers["location"], count=1)
                headers["location"] = target if is_local_path(target) else "/"
        await send(message)

    return send_local
