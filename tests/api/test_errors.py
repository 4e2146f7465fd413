"""A wrong request gets a clear answer: what is wrong, where, and what to do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from fastapi import Response
from sqlalchemy import text

from tests.api.accounts import PASSWORD, Account, Api

REGISTER = "/api/v1/auth/register"


async def test_an_error_has_the_documented_shape_and_the_requests_id(api: Api) -> None:
    response = await api.client.post(REGISTER, json={}, headers={"X-Request-Id": "my-request.1"})
    body = response.json()
    assert response.status_code == 400
    assert body.keys() == {"error", "code", "details", "requestId"}
    assert body["code"] == "MISSING_REQUIRED_FIELD"
    assert body["requestId"] == response.headers["x-request-id"] == "my-request.1"
    assert [error["field"] for error in body["details"]["errors"]] == ["email", "password"]
    assert body["details"]["errors"][0]["message"] == "'email' is missing; add it to the body."


async def test_an_invalid_request_id_is_replaced(api: Api) -> None:
    response = await api.client.get("/healthz", headers={"X-Request-Id": "with spaces <script>"})
    assert response.headers["x-request-id"].startswith("req_")


async def test_problem_json_on_request(api: Api) -> None:
    response = await api.client.post(
        REGISTER, json={}, headers={"Accept": "application/problem+json"}
    )
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code == 400
    assert body["code"] == "MISSING_REQUIRED_FIELD"
    assert body.keys() >= {"type", "title", "detail", "errors", "requestId"}


@pytest.mark.parametrize(
    ("content", "position"),
    [(b'{"email": }', 10), (b'{"email": "a@b.c",', 18), (b"{'email': 1}", 1), (b"nope", 0)],
)
async def test_malformed_json_is_a_400_with_its_position(
    api: Api, content: bytes, position: int
) -> None:
    response = await api.client.post(
        REGISTER, content=content, headers={"Content-Type": "application/json"}
    )
    body = response.json()
    assert (response.status_code, body["code"]) == (400, "MALFORMED_BODY")
    assert body["details"]["position"] == position


async def test_a_body_that_isnt_utf_8_is_malformed(api: Api) -> None:
    response = await api.client.post(
        REGISTER, content=b'{"email": "\xff"}', headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_BODY")


async def test_an_absurdly_deep_body_is_malformed(api: Api) -> None:
    content = b"[" * 100_000
    response = await api.client.post(
        REGISTER, content=content, headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (400, "MALFORMED_BODY")


@pytest.mark.parametrize(
    ("body", "field", "code", "words"),
    [
        (
            {"email": "a@b.co", "password": PASSWORD, "colour": 1},
            "colour",
            "UNKNOWN_FIELD",
            "Unknown field 'colour'",
        ),
        (
            {"email": 7, "password": PASSWORD},
            "email",
            "VALIDATION_ERROR",
            "'email' is 7; it must be a string.",
        ),
        (
            {"email": "a@b.co", "password": 12345678},
            "password",
            "VALIDATION_ERROR",
            "'password' is a number",
        ),
        (
            {"email": "a@b.co", "password": "short"},
            "password",
            "VALIDATION_ERROR",
            "has 5 characters; it needs at least 8",
        ),
        (
            {"email": "a@b.co", "password": PASSWORD, "name": "n\u0000"},
            "name",
            "VALIDATION_ERROR",
            "NUL",
        ),
        (
            {"email": "a@b.co", "password": PASSWORD, "name": None},
            "name",
            "VALIDATION_ERROR",
            "'name' is null",
        ),
        ([1, 2], "body", "VALIDATION_ERROR", "The body is a list; it must be an object."),
        (None, "body", "MISSING_REQUIRED_FIELD", "The body is missing"),
    ],
)
async def test_a_wrong_field_is_named_with_its_value_and_the_remedy(
    api: Api, body: Any, field: str, code: str, words: str
) -> None:
    content = b"" if body is None else json.dumps(body).encode()
    response = await api.client.post(
        REGISTER, content=content, headers={"Content-Type": "application/json"}
    )
    error = response.json()["details"]["errors"][0]
    assert (response.status_code, error["field"], error["code"]) == (400, field, code)
    assert response.json()["code"] == code
    assert words in error["message"]


async def test_lone_surrogates_are_refused(api: Api) -> None:
    content = b'{"email": "a@b.co", "password": "12345678", "name": "\\ud800"}'
    response = await api.client.post(
        REGISTER, content=content, headers={"Content-Type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")


async def test_several_kinds_of_errors_are_a_validation_error(api: Api) -> None:
    response = await api.client.post(REGISTER, json={"email": "nobody", "colour": 1})
    body = response.json()
    assert body["code"] == "VALIDATION_ERROR"
    codes = {error["field"]: error["code"] for error in body["details"]["errors"]}
    assert codes == {
        "email": "INVALID_EMAIL",
        "password": "MISSING_REQUIRED_FIELD",
        "colour": "UNKNOWN_FIELD",
    }


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/keys", {"name": "Key", "rateLimit": True}, "rateLimit"),
        ("/keys", {"name": "Key", "rateLimit": "1000"}, "rateLimit"),
        ("/connectors", {"type": "sandbox", "name": "Sandbox", "isActive": "yes"}, "isActive"),
        ("/connectors", {"type": "sandbox", "name": "Sandbox", "isDefault": 1}, "isDefault"),
    ],
)
async def test_nothing_is_taken_for_what_it_is_not(
    api: Api, ada: Account, path: str, body: dict[str, Any], field: str
) -> None:
    response = await api.post(ada, f"/api/v1/projects/{ada.project_id}{path}", body)
    assert response.status_code == 400, response.text
    assert [error["field"] for error in response.json()["details"]["errors"]] == [field]


async def test_a_whole_number_may_be_written_with_a_point(api: Api, ada: Account) -> None:
    response = await api.post(
        ada, f"/api/v1/projects/{ada.project_id}/keys", {"name": "Key", "rateLimit": 5.0}
    )
    assert (response.status_code, response.json()["rateLimit"]) == (201, 5)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_a_body_that_is_not_declared_as_json_is_a_415(
    api: Api, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await api.client.post(REGISTER, content=b'{"email": "a@b.co"}', headers=headers)
    assert (response.status_code, response.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "application/json" in response.json()["error"]


async def test_a_body_over_the_limit_is_a_413(api: Api) -> None:
    limit = api.platform.settings.body_limit_bytes
    response = await api.client.post(REGISTER, content=b" " * (limit + 1))
    assert (response.status_code, response.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert str(limit) in response.json()["error"]


@pytest.mark.parametrize("path", [REGISTER, "/api/v1/messages"])
async def test_a_chunked_body_over_the_limit_is_a_413(api: Api, ada: Account, path: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(api.platform.settings.body_limit_bytes // 1024 + 1):
            yield b" " * 1024

    key = await api.key(ada)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key['key']}"}
    response = await api.client.post(path, content=chunks(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/v2/messages", "/api/v1/projects/", "/api/"]
)
async def test_an_unknown_route_is_a_json_404_that_names_it(api: Api, path: str) -> None:
    response = await api.client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")
    assert path in response.json()["error"]


async def test_a_wrong_method_is_a_405_that_names_the_right_ones(api: Api, ada: Account) -> None:
    response = await api.client.patch("/api/v1/projects")
    assert (response.status_code, response.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    item = await api.client.post(f"/api/v1/projects/{ada.project_id}")
    assert item.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"


async def test_what_is_not_expected_is_a_500_that_tells_nothing(api: Api) -> None:
    async def explode() -> None:
        raise RuntimeError("secret of the house")

    api.app.add_api_route("/api/v1/explode", explode, include_in_schema=False)
    response = await api.client.get("/api/v1/explode")
    assert (response.status_code, response.json()["code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in response.text
    assert response.json()["requestId"] == response.headers["x-request-id"]


@pytest.mark.parametrize("way", ["driver", "orm", "json", "text"])
async def test_a_value_that_gets_past_every_door_and_cannot_be_stored_is_the_requests(
    api: Api, way: str
) -> None:
    """As a door that is forgotten in times to come would let it."""

    async def store() -> Response:
        if way == "json":
            return Response(orjson.dumps({"secret": 1 << 64}))
        if way == "text":
            return Response("secret \ud800".encode())
        if way == "orm":
            async with api.platform.database.session() as session:
                await (await session.connection()).execute(
                    text("SELECT CAST(:n AS int)"), {"n": str(1 << 64)}
                )
        async with api.platform.database.raw.connection() as connection:
            await connection.execute("SELECT %s::timestamptz", ("secret",))
        return Response()

    path = f"/api/v1/forgotten-{way}"
    api.app.add_api_route(path, store, include_in_schema=False)
    response = await api.client.get(path)
    assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
    assert "cannot be stored" in response.json()["error"]
    assert "secret" not in response.text


async def test_answers_carry_the_security_headers(api: Api) -> None:
    for response in (await api.client.get("/healthz"), await api.client.get("/api/v1/nothing")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in response.headers["content-security-policy"]


async def _preflight(api: Api, path: str, origin: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return await api.client.options(path, headers=headers)


async def test_any_page_may_ask_the_send_path_and_gets_no_credentials(api: Api) -> None:
    response = await _preflight(api, "/api/v1/messages", "https://shop.example")
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in response.headers
    assert "Idempotency-Key" in response.headers["access-control-allow-headers"]
    call = await api.client.post(
        "/api/v1/messages", json={}, headers={"Origin": "https://shop.example"}
    )
    assert call.headers["access-control-allow-origin"] == "https://shop.example"
    assert "Retry-After" in call.headers["access-control-expose-headers"]


async def test_other_pages_may_not_call_the_dashboard_api(api: Api) -> None:
    preflight = await _preflight(api, "/api/v1/projects", "https://evil.example")
    assert (preflight.status_code, preflight.json()["code"]) == (403, "ORIGIN_NOT_ALLOWED")
    call = await api.client.get("/api/v1/projects", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in call.headers
