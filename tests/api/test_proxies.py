"""Who a request comes from when proxies stand between."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from backend.api.frame.proxies import ProxyHeaders, TrustedProxies


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "client"),
    [
        ("10.0.0.9", ["198.51.100.7"], ["10.0.0.9"], "198.51.100.7"),
        ("203.0.113.5", ["198.51.100.7"], ["10.0.0.9"], "203.0.113.5"),
        ("10.0.0.9", ["1.1.1.1, 198.51.100.7, 10.0.0.8"], ["10.0.0.0/8"], "198.51.100.7"),
        ("10.0.0.9", ["1.1.1.1", "198.51.100.7"], ["10.0.0.1/8"], "198.51.100.7"),
        ("::ffff:10.0.0.9", ["198.51.100.7"], ["10.0.0.9"], "198.51.100.7"),
        ("10.0.0.9", [], ["10.0.0.9"], "10.0.0.9"),
        # "*" believes who connects, and nothing that a client may have written before.
        ("10.0.0.9", ["1.1.1.1, 198.51.100.7"], ["*"], "198.51.100.7"),
        ("10.0.0.9", ["1.1.1.1", "198.51.100.7"], ["*"], "198.51.100.7"),
        ("10.0.0.9", ["1.1.1.1, 198.51.100.7, 10.0.0.8"], ["*", "10.0.0.0/8"], "198.51.100.7"),
        ("10.0.0.9", [], ["*"], "10.0.0.9"),
    ],
)
def test_the_client_is_who_the_last_trusted_proxy_saw(
    peer: str, forwarded: list[str], trusted: list[str], client: str
) -> None:
    assert TrustedProxies(trusted).client_of(peer, forwarded) == client


@pytest.mark.parametrize(
    ("kind", "peer", "client", "scheme"),
    [
        ("http", "10.0.0.9", "198.51.100.7", "https"),
        ("websocket", "10.0.0.9", "198.51.100.7", "wss"),
        ("http", "203.0.113.5", "203.0.113.5", "http"),
    ],
)
async def test_an_application_sees_the_client_of_a_trusted_proxy_only(
    kind: str, peer: str, client: str, scheme: str
) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def nothing(*_: object) -> Any:
        return None

    headers = [(b"x-forwarded-for", b"198.51.100.7"), (b"x-forwarded-proto", b"https")]
    scope = {
        "type": kind,
        "client": (peer, 1),
        "headers": headers,
        "scheme": "http" if kind == "http" else "ws",
    }
    await ProxyHeaders(app, TrustedProxies(["10.0.0.9"]))(scope, nothing, nothing)
    assert (seen[0]["client"][0], seen[0]["scheme"]) == (client, scheme)
