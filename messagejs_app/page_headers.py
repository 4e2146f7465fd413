"""What every answer of the pages carries: a content security policy made for this build, and how
long it keeps.

The API's answers have headers of their own (backend/api/frame/middleware.py).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_INLINE_SCRIPT: Final = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
# Radix, emotion and sonner write <style> elements while the page runs, and holding their hashes
# would break with any of their versions. Attributes with styles nobody writes.
_PAGE: Final = (
    "default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline';"
    " style-src-attr 'none'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
    " manifest-src 'self'; frame-src 'self'; object-src 'none'; base-uri 'none'; form-action"
    " 'self'; frame-ancestors 'none'"
)
_NO_PAGE: Final = "default-src 'none'; frame-ancestors 'none'"
# Somebody's mail, as a mail program shows it: styles and pictures from anywhere, and nothing that
# runs.
_PREVIEW: Final = (
    "default-src 'none'; style-src * 'unsafe-inline'; img-src * data:; font-src * data:; media-src"
    " *; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_YEAR_S: Final = 31_536_000
# Their names hold a hash of what is in them.
_HASHED: Final = "/assets/"


def inline_scripts(site: Path) -> frozenset[str]:
    """Return the CSP sources of the scripts that stand in the built pages themselves:
    'sha256-...'.
    """
    scripts = {
        script
        for page in site.rglob("*.html")
        for script in _INLINE_SCRIPT.findall(page.read_bytes())
    }
    return frozenset(
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in scripts
    )


class PageHeaders:
    """ASGI middleware.

    `scripts`: the CSP sources of inline scripts; `is_https`: browsers reach us by TLS only.

    `preview_path`: the page that may stand in a frame of ours, without scripts.
    """

    def __init__(
        self, app: ASGIApp, *, scripts: Iterable[str], preview_path: str, is_https: bool
    ) -> None:
        self.app = app
        self._preview_path = preview_path
        self._is_https = is_https
        self._page_policy = _PAGE.format(hashes=" ".join(sorted(scripts)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._frame(scope, message)
            await send(message)

        await self.app(scope, receive, send_framed)

    def _policy(self, status: int, headers: MutableHeaders) -> str:
        # "Not modified" names no type, and its headers replace those that the browser keeps with
        # the page.
        is_page = status == 304 or headers.get("content-type", "").startswith("text/html")
        return self._page_policy if is_page else _NO_PAGE

    def _frame(self, scope: Scope, message: Message) -> None:
        message.setdefault("headers", [])
        headers = MutableHeaders(scope=message)
        is_preview = scope["path"] == self._preview_path
        headers["content-security-policy"] = (
            _PREVIEW if is_preview else self._policy(message["status"], headers)
        )
        headers["x-frame-options"] = "SAMEORIGIN" if is_preview else "DENY"
        headers["x-content-type-options"] = "nosniff"
        # Not "no-referrer": with that a browser posts our forms with "Origin: null".
        headers["referrer-policy"] = "same-origin"
        if self._is_https or scope.get("scheme") == "https":
            headers["strict-transport-security"] = f"max-age={_YEAR_S}"
        if scope["path"].startswith(_HASHED) and message["status"] in {200, 206, 304}:
            headers["cache-control"] = f"public, max-age={_YEAR_S}, immutable"
        else:
            # Asked for again each time (an ETag makes that short): a page names the assets of its
            # own build.
            headers.setdefault("cache-control", "no-cache")
