"""How a route announces its end: `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and a link.

@router.get("/old", deprecated=True, dependencies=[deprecated(since, sunset=..., link="/docs#new")])
"""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime
from typing import Any

from fastapi import Depends, Request


def deprecated(since: datetime, *, sunset: datetime | None = None, link: str | None = None) -> Any:
    """Return the dependency that puts the headers on every answer of a route, errors included.

    Instants in UTC.
    """
    headers = [(b"deprecation", f"@{int(since.timestamp())}".encode())]
    if sunset is not None:
        headers.append((b"sunset", format_datetime(sunset, usegmt=True).encode()))
    if link is not None:
        headers.append((b"link", f'<{link}>; rel="deprecation"; type="text/html"'.encode()))

    async def announce(request: Request) -> None:
        request.state.headers.extend(headers)

    return Depends(announce)
