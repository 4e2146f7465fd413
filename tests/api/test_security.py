"""Which pages may use a key, who is at the other end, and what a key may see."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request
from structlog.testing import capture_logs

from backend.api.frame.cors import CorsPolicy
from backend.api.frame.proxies import client_of
from backend.api.inputs.access import check_origin
from backend.errors import KeyScope, OriginNotAllowed
from backend.ids import new_id
from backend.services.access.access import Action, access_of_key
from backend.services.catalog.catalog import CatalogKey
from tests.api.accounts import Account, Api


def a_key(**fields: Any) -> CatalogKey:
    defaults: dict[str, Any] = {
        "id": new_id(),
        "project_id": new_id(),
        "name": "Shop",
        "kind": "publishable",
        "mode": "live",
        "scopes": frozenset({"messages:send"}),
        "allowed_origins": ("https://shop.example",),
        "rate_limit": None,
        "monthly_quota": None,
        "expires_at": None,
        "quiet_hours": None,
    }
    return CatalogKey(**{**defaults, **fields})


@pytest.mark.parametrize(
    ("key", "origin", "allowed"),
    [
        (a_key(), "https://shop.example", True),
        (a_key(), "HTTPS://SHOP.EXAMPLE", True),
        (a_key(), None, False),
        (a_key(), "null", False),
        (a_key(), "http://shop.example", False),
        (a_key(), "https://shop.example:8443", False),
        (a_key(), "https://www.shop.example", False),
        (a_key(), "https://shop.example.evil.example", False),
        (a_key(), "http://localhost:3000", False),
        (a_key(allowed_origins=("http://localhost:3000",)), "http://localhost:3000", False),
        (a_key(allowed_origins=()), "https://shop.example", False),
        (a_key(mode="test"), "http://localhost:3000", True),
        (a_key(mode="test"), "http://127.0.0.1:5173", True),
        (a_key(mode="test"), "https://evil.example", False),
        (a_key(mode="test"), None, False),
        (a_key(kind="secret", allowed_origins=()), None, True),
        (a_key(kind="secret", allowed_origins=()), "https://anywhere.example", True),
        (a_key(kind="secret"), None, True),
        (a_key(kind="secret"), "https://shop.example", True),
        (a_key(kind="secret"), "https://evil.example", False),
    ],
)
def test_a_key_works_on_the_pages_it_names(
    key: CatalogKey, origin: str | None, allowed: bool
) -> None:
    if allowed:
        check_origin(key, origin)
        return
    with pytest.raises(OriginNotAllowed) as caught:
        check_origin(key, origin)
    assert "key" in caught.value.message


def test_an_origin_that_the_operator_allows_may_read_with_credentials() -> None:
    policy = CorsPolicy(["https://admin.example"])
    allowed = dict(policy.headers("/api/v1/projects", b"https://admin.example"))
    assert allowed[b"access-control-allow-origin"] == b"https://admin.example"
    assert allowed[b"access-control-allow-credentials"] == b"true"
    assert policy.preflight("/api/v1/projects", b"https://admin.example") is not None
    assert policy.preflight("/api/v1/projects", b"https://admin.example.evil.example") is None


def test_allowing_every_origin_allows_none_of_them_credentials() -> None:
    allowed = dict(CorsPolicy(["*"]).headers("/api/v1/projects", b"https://any.example"))
    assert allowed[b"access-control-allow-origin"] == b"https://any.example"
    assert b"access-control-allow-credentials" not in allowed


def test_a_scope_that_is_missing_is_named() -> None:
    access = access_of_key(a_key())
    access.require(Action.SEND_MESSAGES)
    with pytest.raises(KeyScope, match="messages:read"):
        access.require(Action.VIEW_MESSAGES)


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("10.0.0.9", "198.51.100.7", ("10.0.0.9",), "198.51.100.7"),
        ("10.0.0.9", "198.51.100.7", ("10.0.0.0/8",), "198.51.100.7"),
        ("10.0.0.9", "198.51.100.7", (), "10.0.0.9"),
        ("203.0.113.5", "198.51.100.7", ("10.0.0.9",), "203.0.113.5"),
        # The client wrote the first entry itself; the proxy added the second.
        ("10.0.0.9", "1.1.1.1, 198.51.100.7", ("10.0.0.9",), "198.51.100.7"),
        ("10.0.0.9", "1.1.1.1, 198.51.100.7, 10.0.0.8", ("10.0.0.0/8",), "198.51.100.7"),
        ("10.0.0.9", "", ("10.0.0.9",), "10.0.0.9"),
        ("10.0.0.9", "1.1.1.1", ("*",), "1.1.1.1"),
        # "*" trusts who connects, and nobody further: the first entry is the client's own.
        ("10.0.0.9", "1.1.1.1, 198.51.100.7", ("*",), "198.51.100.7"),
    ],
)
def test_only_a_trusted_proxy_says_where_a_request_came_from(
    peer: str, forwarded: str, trusted: tuple[str, ...], address: str
) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    request = Request({"type": "http", "headers": headers, "client": (peer, 1)})
    assert client_of(request, trusted).address == address


@pytest.mark.parametrize(
    ("peer", "trusted", "is_told"),
    [("10.9.8.7", (), True), ("10.9.8.6", ("10.9.8.6",), False), ("8.8.8.8", (), False)],
)
def test_a_proxy_that_is_not_named_is_logged_with_the_remedy(
    peer: str, trusted: tuple[str, ...], is_told: bool
) -> None:
    headers = [(b"x-forwarded-for", b"198.51.100.1")]
    with capture_logs() as logs:
        for _ in range(2):
            client_of(Request({"type": "http", "headers": headers, "client": (peer, 1)}), trusted)
    reported = [line["remedy"] for line in logs if line["event"] == "proxy.not_trusted"]
    assert reported == ([f"set TRUSTED_PROXIES={peer} if it is your proxy"] if is_told else [])


async def test_dashboard_calls_over_the_limit_are_refused_with_headers(api: Api) -> None:
    account = await api.register()
    settings = api.platform.settings
    api.platform.settings = settings.model_copy(update={"dashboard_rate_limit_per_minute": 2})
    try:
        responses = [await api.get(account, "/api/v1/auth/me") for _ in range(3)]
    finally:
        api.platform.settings = settings
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[0].headers["ratelimit-policy"] == '"dashboard";q=2;w=60'
    assert responses[2].json()["code"] == "RATE_LIMIT_EXCEEDED"
    assert int(responses[2].headers["retry-after"]) > 0
    assert len(responses[2].headers.get_list("ratelimit")) == 1


async def test_a_limited_user_leaves_others_alone(api: Api, ada: Account) -> None:
    assert (await api.get(ada, "/api/v1/auth/me")).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://[", "http://[::1", "https://x:port", "https://a b", "shop.example", ""]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/api/v1/auth/me"),
        ("POST", "/api/v1/projects"),
        ("POST", "/api/v1/messages"),
        ("OPTIONS", "/api/v1/messages"),
        ("POST", "/auth/login"),
        ("POST", "/auth/logout"),
    ],
)
async def test_a_broken_origin_is_a_bad_request(
    api: Api, method: str, path: str, origin: str
) -> None:
    headers = {
        "Origin": origin,
        "Cookie": "mjs_session=cs_x",
        "Access-Control-Request-Method": "POST",
    }
    answer = await api.client.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
    assert "https://example.com" in answer.json()["error"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["null", "file://", "chrome-extension://abc", "http://[::1]:8000"]
)
async def test_every_origin_that_browsers_send_is_one(api: Api, origin: str) -> None:
    assert (await api.client.get("/healthz", headers={"Origin": origin})).status_code == 200
