"""A local server answers to its own names: another site's page cannot reach it under that site's
name.
"""

from __future__ import annotations

from typing import Any

import pytest

from backend.api.frame.hosts import LocalHosts


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _ask(host: str | None, *, path: str = "/api/v1/auth/register", kind: str = "http") -> Any:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": f"{kind}.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if host is None else [(b"host", host.encode())]
    hosts = LocalHosts(_app, ["127.0.0.5"], ["https://dev.example:8443"])
    await hosts({"type": kind, "path": path, "headers": headers}, receive, send)
    return sent[0].get("status", sent[0].get("code"))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:8000",
        "[::1]",
        "[::1]:8000",
        "127.0.0.5:1",
        "dev.example:8443",
        None,
    ],
)
async def test_its_own_names_are_answered(host: str | None) -> None:
    assert await _ask(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8000",
        "",
        "::1",
    ],
)
async def test_another_sites_name_is_refused(host: str) -> None:
    assert await _ask(host) == 421
    assert await _ask(host, kind="websocket") == 1008


async def test_who_watches_may_use_any_name() -> None:
    assert await _ask("probe.internal", path="/healthz") == 200
