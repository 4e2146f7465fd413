"""Which web pages' scripts may read an answer.

The send paths are for any page: they carry no cookie, and the key's allowed origins are checked on
the call itself. Everything else is the dashboard's API: its own origin and ALLOWED_ORIGINS only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Headers = list[tuple[bytes, bytes]]

_PUBLIC_PATHS: Final = ("/api/v1/messages", "/api/v1/verifications")
# This exact path: making send tokens (/send-tokens) needs a secret key, which no page has.
_PUBLIC_SEND: Final = "/api/v1/send"
_EXPOSED: Final = (
    b"RateLimit, RateLimit-Policy, Retry-After, X-Request-Id, Idempotency-Replayed, ETag,"
    b" Deprecation, Sunset"
)
_PREFLIGHT: Final[Headers] = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-Match, X-Request-Id",
    ),
    (b"access-control-max-age", b"600"),
]


class CorsPolicy:
    def __init__(self, allowed_origins: Iterable[str]) -> None:
        self._allowed = frozenset(origin.lower().encode() for origin in allowed_origins)

    def headers(self, path: str, origin: bytes) -> Headers:
        """Return the headers that let `origin` read the answer; only Vary when it may not."""
        vary = (b"vary", b"Origin")
        if path == _PUBLIC_SEND or path.startswith(_PUBLIC_PATHS) or b"*" in self._allowed:
            # Never with credentials: a page reads only what its own key was given.
            return [
                vary,
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", _EXPOSED),
            ]
        if origin.lower() in self._allowed:
            return [
                vary,
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", _EXPOSED),
            ]
        return [vary]

    def preflight(self, path: str, origin: bytes) -> Headers | None:
        """Return the answer to an OPTIONS preflight, None when the origin may not call the path."""
        headers = self.headers(path, origin)
        return [*headers, *_PREFLIGHT] if len(headers) > 1 else None
