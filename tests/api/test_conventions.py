"""What holds on every route: ETags, HEAD, OPTIONS, gzip, content types, limits by address,
deprecation.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI

from backend import ids
from backend.api.frame import errors
from backend.api.frame.address_limit import AddressLimit
from backend.api.frame.cors import CorsPolicy
from backend.api.frame.middleware import FrameMiddleware
from backend.api.openapi.deprecation import deprecated
from backend.errors import RateLimitExceeded, Unauthenticated
from backend.ids import new_id
from backend.settings import Settings
from tests.api.accounts import Account, Api
from tests.api.apps import another_api
from tests.api.sample_bodies import filled, json_schema, operations

NOTHING = {
    "keyId": ids.encode(ids.KEY, new_id()),
    "connectorId": ids.encode(ids.CONNECTOR, new_id()),
    "templateId": ids.encode(ids.TEMPLATE, new_id()),
    "messageId": ids.encode(ids.MESSAGE, new_id()),
    "routeId": ids.encode(ids.ROUTE, new_id()),
}


async def test_a_change_from_an_old_reading_is_refused(api: Api) -> None:
    account = await api.register()
    path = f"/api/v1/projects/{account.project_id}"
    read = await api.get(account, path)
    headers = {**account.headers, "If-Match": read.headers["etag"]}
    first = await api.client.put(path, headers=headers, json={"name": "First"})
    assert first.status_code == 200
    assert first.headers["etag"] != read.headers["etag"]
    second = await api.client.put(path, headers=headers, json={"name": "Second"})
    assert (second.status_code, second.json()["code"]) == (412, "PRECONDITION_FAILED")
    assert second.headers["etag"] == first.headers["etag"]
    assert (await api.client.delete(path, headers=headers)).status_code == 412
    assert (await api.get(account, path)).json()["name"] == "First"
    # Optional, and `*` is whatever there is.
    assert (await api.put(account, path, {"name": "Third"})).status_code == 200
    anything = {**account.headers, "If-Match": "*"}
    assert (
        await api.client.put(path, headers=anything, json={"name": "Fourth"})
    ).status_code == 200


async def test_of_two_changes_from_one_reading_at_once_one_wins(api: Api) -> None:
    account = await api.register()
    path = f"/api/v1/projects/{account.project_id}"
    headers = {**account.headers, "If-Match": (await api.get(account, path)).headers["etag"]}
    answers = await asyncio.gather(
        *(api.client.put(path, headers=headers, json={"name": name}) for name in ("One", "Two"))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412]


async def test_members_have_tags_too(api: Api) -> None:
    account = await api.register()
    path = f"/api/v1/projects/{account.project_id}/members/{account.user_id}"
    tag = (await api.get(account, path)).headers["etag"]
    stale = {**account.headers, "If-Match": '"0"'}
    assert (await api.client.put(path, headers=stale, json={"role": "owner"})).status_code == 412
    fresh = {**account.headers, "If-Match": f'"0", {tag}'}
    assert (await api.client.put(path, headers=fresh, json={"role": "owner"})).status_code == 200


async def test_every_resource_of_a_project_has_a_tag_that_guards_its_changes(api: Api) -> None:
    account = await api.register()
    project = f"/api/v1/projects/{account.project_id}"
    bodies = {
        "keys": {"name": "Key"},
        "connectors": {"type": "sandbox", "name": "Another"},
        "templates": {"name": "welcome", "connectorType": "sandbox", "content": "Hello"},
    }
    stale = {**account.headers, "If-Match": '"0"'}
    for plural, body in bodies.items():
        created = await api.post(account, f"{project}/{plural}", body)
        assert created.status_code == 201, created.text
        path = f"{project}/{plural}/{created.json()['id']}"
        fresh = {**account.headers, "If-Match": (await api.get(account, path)).headers["etag"]}
        assert (
            await api.client.put(path, headers=stale, json={"name": "New"})
        ).status_code == 412, plural
        assert (await api.client.delete(path, headers=stale)).status_code == 412, plural
        assert (
            await api.client.put(path, headers=fresh, json={"name": "New"})
        ).status_code == 200, plural
        assert (await api.client.delete(path, headers=fresh)).status_code == 412, plural


async def test_every_get_has_a_head_with_the_same_headers_and_no_body(
    api: Api, ada: Account
) -> None:
    document = (await api.client.get("/api/openapi.json")).json()
    fixed = [
        path for method, path, _ in operations(document) if method == "GET" and "{" not in path
    ]
    assert len(fixed) >= 8
    for path in [*fixed, f"/api/v1/projects/{ada.project_id}", "/docs", "/api/openapi.json"]:
        get = await api.get(ada, path)
        head = await api.client.head(path, headers=ada.headers)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert head.headers["content-type"] == get.headers["content-type"], path
    assert (await api.client.head("/api/v1/auth/login")).status_code == 405
    assert (await api.client.head("/api/v1/nothing")).status_code == 404


async def test_options_tells_the_methods_of_every_path(api: Api) -> None:
    document = (await api.client.get("/api/openapi.json")).json()
    for path, methods in document["paths"].items():
        response = await api.client.options(path.replace("{", "").replace("}", ""))
        allowed = set(response.headers["allow"].split(", "))
        named = {method.upper() for method in methods}
        assert response.status_code == 204, path
        assert allowed >= named | {"OPTIONS"} | ({"HEAD"} if "GET" in named else set()), path
    assert (await api.client.options("/api/v1/nothing")).status_code == 404


async def test_larger_answers_are_compressed_where_the_client_can(api: Api) -> None:
    compressed = await api.client.get("/api/openapi.json", headers={"Accept-Encoding": "gzip"})
    plain = await api.client.get("/api/openapi.json", headers={"Accept-Encoding": "identity"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.json() == plain.json()
    assert int(compressed.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    small = await api.client.get("/healthz", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/merge-patch+json",
        None,
    ],
)
async def test_a_body_of_another_type_is_a_415_on_every_route(
    api: Api, ada: Account, content_type: str | None
) -> None:
    document = (await api.client.get("/api/openapi.json")).json()
    headers = {**ada.headers, **({"Content-Type": content_type} if content_type else {})}
    known = {"projectId": ada.project_id, "userId": ada.user_id, **NOTHING}
    answers = {}
    for method, path, operation in operations(document):
        # A provider's callback is of its own kind (test_callbacks.py).
        is_callback = path.startswith("/api/v1/callbacks/")
        if json_schema(operation) is not None and not _takes_a_key(path) and not is_callback:
            url = filled(path, **known)
            response = await api.client.request(
                method, url, headers=headers, content=b'{"name": "x"}'
            )
            answers[method, path] = response.status_code
    assert len(answers) >= 15
    assert {route: status for route, status in answers.items() if status != 415} == {}


def _takes_a_key(path: str) -> bool:
    """A token is refused there before anybody looks at the body."""
    return path.startswith(("/api/v1/messages", "/api/v1/send"))


async def test_an_address_has_one_limit_for_everything(settings: Settings) -> None:
    async with another_api(settings, global_rate_limit_per_minute=3) as api:
        async with api.from_address("198.51.100.200") as client:
            answers = [await client.get("/healthz") for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
            assert answers[-1].json()["code"] == "RATE_LIMIT_EXCEEDED"
            assert 0 < int(answers[-1].headers["retry-after"]) <= 60
            # A send answers to its key's limit: this one has no key.
            assert (await client.post("/api/v1/messages", json={})).status_code == 401
        async with api.from_address("198.51.100.201") as client:
            assert (await client.get("/healthz")).status_code == 200


def test_the_addresss_window_slides() -> None:
    now = 0.0
    limit = AddressLimit(10, clock=lambda: now)
    for _ in range(10):
        limit.count("a")
    with pytest.raises(RateLimitExceeded):
        limit.count("a")
    limit.count("b")
    now = 90.0  # half of the last minute's 10 still count: 5 are free
    for _ in range(5):
        limit.count("a")
    with pytest.raises(RateLimitExceeded):
        limit.count("a")
    now = 400.0
    for _ in range(10):
        limit.count("a")


async def test_a_route_that_will_go_says_so_on_every_answer() -> None:
    app = FastAPI()
    app.add_middleware(FrameMiddleware, body_limit_bytes=1000, cors=CorsPolicy(()))
    errors.install(app)
    since, sunset = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)

    @app.get("/old", dependencies=[deprecated(since, sunset=sunset, link="/docs#new")])
    async def old(fail: bool = False) -> dict[str, str]:
        if fail:
            raise Unauthenticated
        return {}

    @app.get("/new")
    async def new() -> dict[str, str]:
        return {}

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        for response in (await client.get("/old"), await client.get("/old?fail=true")):
            assert response.headers["deprecation"] == "@1767225600"  # 2026-01-01T00:00:00Z
            assert response.headers["sunset"] == "Wed, 01 Jul 2026 00:00:00 GMT"
            assert response.headers["link"] == '</docs#new>; rel="deprecation"; type="text/html"'
        assert "deprecation" not in (await client.get("/new")).headers


async def test_a_request_id_of_the_clients_comes_back(api: Api) -> None:
    request_id = f"mine-{new_id()}"
    response = await api.client.get("/api/v1/auth/me", headers={"X-Request-Id": request_id})
    assert response.headers["x-request-id"] == response.json()["requestId"] == request_id
