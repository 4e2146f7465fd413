"""A shortcut for sends, around routing and FastAPI's layers: those cost as much as everything else
that a send does in Python.

The router has the same endpoint, for its documentation and for every other method; a request that
does not match exactly goes there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

AsyncHandler = Callable[[Request], Awaitable[Response]]
Wrap = Callable[[ASGIApp], ASGIApp]


class HotPath:
    """`endpoints`: (method, exact path) -> its endpoint. Each has its own frame, which turns errors
    into answers.
    """

    def __init__(self, frame: Wrap, endpoints: Mapping[tuple[str, str], AsyncHandler]) -> None:
        self._apps = {target: frame(_plain(endpoint)) for target, endpoint in endpoints.items()}

    def find(self, scope: Scope) -> ASGIApp | None:
        return self._apps.get((scope["method"], scope["path"])) if scope["type"] == "http" else None


def _plain(endpoint: AsyncHandler) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


class Api(FastAPI):
    """FastAPI behind a shortcut."""

    shortcut: HotPath | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.shortcut.find(scope) if self.shortcut is not None else None
        if app is None:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await app(scope, receive, send)
