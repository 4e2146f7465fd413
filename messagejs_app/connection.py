"""What a websocket's request says of who sent it: the log-in's cookie, and the address the API
would see.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from backend.api.frame.proxies import client_of
from backend.platform import current_platform

COOKIE: Final = "mjs_session"


def cookie_header(scope: Scope) -> str:
    """Return all cookies as Reflex joins them."""
    values = [
        value.decode("utf-8", "replace") for name, value in scope["headers"] if name == b"cookie"
    ]
    return "; ".join(values)


def session_cookie(header: str) -> str | None:
    """Return the log-in's value in a Cookie header; None where there is none."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(header)
    except CookieError:
        return None
    morsel = jar.get(COOKIE)
    return morsel.value if morsel is not None else None


def address_in(scope: Scope) -> str:
    """Return the visitor's address: X-Forwarded-For counts only when a trusted proxy sent it."""
    return client_of(HTTPConnection(scope), current_platform().settings.trusted_proxies).address


def address_behind(peer: str, forwarded_for: str) -> str:
    """Return the visitor's address from what Reflex keeps of a connection."""
    headers = [(b"x-forwarded-for", forwarded_for.encode("latin-1", "replace"))]
    return address_in({"type": "websocket", "headers": headers, "client": (peer, 0)})
