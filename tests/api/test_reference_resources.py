"""Reference 002's projects, keys, connectors and templates: every endpoint with its example bodies, and its errors.

Answers may have more fields than the reference shows; those that it shows are there, with its types.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
import pytest_asyncio

from backend import ids
from backend.models import ProjectMember
from backend.services.accounts.tokens import AccessClaims, sign_access_token
from tests.api.conftest import Account, Api
from tests.api.tenant import Tenant
from tests.providers.fakes import refused_port

PROJECT: Final = "/api/v1/projects/{projectId}"
KEY: Final = PROJECT + "/keys/{keyId}"
CONNECTOR: Final = PROJECT + "/connectors/{connectorId}"
TEMPLATE: Final = PROJECT + "/templates/{templateId}"
NOBODY: Final = "01h455vb4pex5vsknk084sn02q"
AT: Final = "2024-01-15T10:00:00Z"
WELCOME: Final = "Hello {{name}}, welcome to {{company}}! Your code is: {{code}}"

# What the reference shows of each.
LISTED_PROJECT: Final = {
    "id": "proj_abc123",
    "name": "My Awesome Project",
    "description": "Project description",
    "createdAt": AT,
    "isActive": True,
}
MADE_PROJECT: Final = {**LISTED_PROJECT, "userId": "usr_xyz789"}
LISTED_KEY: Final = {
    "id": "key_abc123",
    "name": "Production Key",
    "lastUsed": AT,
    "rateLimit": 1000,
    "isActive": True,
    "createdAt": AT,
}
MADE_KEY: Final = {
    "key": "sk_live_...",
    "id": "key_abc123",
    "name": "Production Key",
    "rateLimit": 1000,
    "isActive": True,
    "createdAt": AT,
}
LISTED_CONNECTOR: Final = {
    "id": "conn_abc123",
    "type": "whatsapp",
    "name": "Business WhatsApp",
    "isActive": True,
    "createdAt": AT,
}
LISTED_TEMPLATE: Final = {
    "id": "tpl_abc123",
    "name": "Welcome Message",
    "connectorType": "whatsapp",
    "isActive": True,
    "createdAt": AT,
}
NEW_TEMPLATE: Final = {
    "name": "Welcome Message",
    "connectorType": "whatsapp",
    "content": WELCOME,
    "variables": ["name", "company", "code"],
}
MADE_TEMPLATE: Final = {**LISTED_TEMPLATE, **NEW_TEMPLATE}
WHATSAPP: Final = {
    "type": "whatsapp",
    "name": "Business WhatsApp",
    "credentials": {"phoneNumberId": "123456789", "accessToken": "EAAG..."},
}
TELEGRAM: Final = {"type": "telegram", "name": "My Bot", "credentials": {"botToken": "123456:ABC-DEF..."}}
TWILIO: Final[dict[str, Any]] = {
    "type": "twilio",
    "name": "SMS Provider",
    "credentials": {"accountSid": "ACxxx...", "authToken": "xxx...", "fromNumber": "+1234567890"},
}
PAGE: Final = {"limit": 20, "offset": 0, "total": 1, "hasMore": False}
TESTED: Final = {"success": True, "connected": True, "message": "Connected to WhatsApp Cloud API"}


@dataclass(frozen=True)
class Case:
    """One endpoint: what is sent, and what the reference shows of the answer (None: no content)."""

    request: str
    status: int
    shows: dict[str, Any] | None
    body: Any = None


CASES: Final = [
    Case("GET /api/v1/projects?limit=20", 200, {"projects": [LISTED_PROJECT], "pagination": PAGE}),
    Case(
        "POST /api/v1/projects",
        201,
        MADE_PROJECT,
        {"name": "My Awesome Project", "description": "Project description"},
    ),
    Case(f"GET {PROJECT}", 200, {**MADE_PROJECT, "updatedAt": AT}),
    Case(
        f"PUT {PROJECT}",
        200,
        {"id": "proj_abc123", "name": "Updated", "description": "Updated description", "updatedAt": AT},
        {"name": "Updated Project Name", "description": "Updated description"},
    ),
    Case(f"DELETE {PROJECT}", 204, None),
    Case(f"GET {PROJECT}/keys?limit=20", 200, {"keys": [LISTED_KEY], "pagination": PAGE}),
    Case(f"POST {PROJECT}/keys", 201, MADE_KEY, {"name": "Production Key", "rateLimit": 1000}),
    Case(f"DELETE {KEY}", 204, None),
    Case(f"GET {PROJECT}/connectors?limit=20", 200, {"connectors": [LISTED_CONNECTOR], "pagination": PAGE}),
    Case(f"POST {PROJECT}/connectors", 201, {**LISTED_CONNECTOR, "projectId": "proj_xyz789"}, WHATSAPP),
    Case(f"POST {PROJECT}/connectors", 201, {**LISTED_CONNECTOR, "projectId": "proj_xyz789"}, TELEGRAM),
    Case(f"POST {PROJECT}/connectors", 201, {**LISTED_CONNECTOR, "projectId": "proj_xyz789"}, TWILIO),
    Case(f"GET {CONNECTOR}", 200, {**LISTED_CONNECTOR, "updatedAt": AT}),
    Case(
        f"PUT {CONNECTOR}",
        200,
        {"id": "conn_abc123", "name": "Updated Connector Name", "isActive": False, "updatedAt": AT},
        {"name": "Updated Connector Name", "isActive": False},
    ),
    Case(f"DELETE {CONNECTOR}", 204, None),
    Case(f"POST {CONNECTOR}/test", 200, TESTED),
    Case(f"GET {PROJECT}/templates?limit=20", 200, {"templates": [LISTED_TEMPLATE], "pagination": PAGE}),
    Case(f"POST {PROJECT}/templates", 201, MADE_TEMPLATE, NEW_TEMPLATE),
    Case(f"GET {TEMPLATE}", 200, {**MADE_TEMPLATE, "updatedAt": AT}),
    Case(
        f"PUT {TEMPLATE}",
        200,
        {"id": "tpl_abc123", "content": "Hi {{name}}", "variables": ["name", "company"], "updatedAt": AT},
        {"content": "Hi {{name}}, thanks for joining {{company}}!", "variables": ["name", "company"]},
    ),
    Case(f"DELETE {TEMPLATE}", 204, None),
]


@pytest_asyncio.fixture(scope="module")
async def tenant(api: Api, ada: Account) -> Tenant:
    del ada  # registered first, which makes an administrator
    return Tenant(api, await api.register())


async def _fill(tenant: Tenant) -> dict[str, str]:
    """Make a project in which every list has the row that the reference shows; return the ids."""
    api, account = tenant.api, tenant.account
    made = await api.post(account, "/api/v1/projects", {"name": "P", "description": "Project description"})
    tenant.project_id = made.json()["id"]
    path = f"/api/v1/projects/{tenant.project_id}"
    found = {"projectId": tenant.project_id}
    for name, kind, body in (
        ("keyId", "keys", {"name": "Production Key", "rateLimit": 1000}),
        ("connectorId", "connectors", {"type": "sandbox", "name": "Sandbox"}),
        ("templateId", "templates", NEW_TEMPLATE),
    ):
        answer = (await api.post(account, f"{path}/{kind}", body)).json()
        found[name] = answer["id"]
        tenant.key = answer.get("key", tenant.key)
    await tenant.id_of("messageId")  # so that the key has been used
    return found


async def _send(tenant: Tenant, request: str, body: Any, values: dict[str, str]) -> Any:
    method, _, path = request.partition(" ")
    for name, value in values.items():
        path = path.replace("{" + name + "}", value)
    return await tenant.api.client.request(method, path, headers=tenant.account.headers, json=body)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.request)
async def test_an_endpoint_answers_as_the_reference_shows(tenant: Tenant, case: Case) -> None:
    values = await _fill(tenant)
    response = await _send(tenant, case.request, case.body, values)
    assert response.status_code == case.status, response.text
    if case.shows is None:
        assert response.content == b""
        gone = await _send(tenant, "GET " + case.request.removeprefix("DELETE "), None, values)
        assert gone.status_code == 404
        return
    answer = response.json()
    assert _differences(case.shows, answer) == []
    for name, value in (case.body or {}).items():
        if name != "credentials":
            assert answer[name] == value
    assert "credentials" not in response.text


def _differences(example: Any, answer: Any, place: str = "answer") -> list[str]:
    """Return where the answer lacks a field of the example or has another type there."""
    if isinstance(example, dict) and isinstance(answer, dict):
        missing = [f"{place}.{name} is missing" for name in example if name not in answer]
        shared = [name for name in example if name in answer]
        return missing + [d for name in shared for d in _differences(example[name], answer[name], f"{place}.{name}")]
    if isinstance(example, list) and isinstance(answer, list):
        if not answer:
            return [f"{place} is empty"]
        return _differences(example[0], answer[0], f"{place}[0]")
    if type(example) is not type(answer):
        return [f"{place} is {answer!r}, not like {example!r}"]
    if isinstance(example, str) and (pattern := _form_of(example)) and not re.fullmatch(pattern, answer):
        return [f"{place} is {answer!r}, not like {example!r}"]
    return []


def _form_of(example: str) -> str | None:
    if example == AT:
        return r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
    prefix = re.match(r"(proj|key|conn|tpl|usr)_|sk_live_", example)
    return re.escape(prefix[0]) + r"\w{26,32}" if prefix else None


@pytest.mark.parametrize(
    ("answer", "differences"),
    [
        ({"id": f"key_{NOBODY}", "createdAt": AT}, 0),
        ({"id": f"key_{NOBODY}"}, 1),
        ({"id": f"key_{NOBODY}", "createdAt": None}, 1),
        ({"id": f"tpl_{NOBODY}", "createdAt": "15.1.2024"}, 2),
    ],
)
def test_the_comparison_would_notice(answer: dict[str, Any], differences: int) -> None:
    assert len(_differences({"id": "key_abc123", "createdAt": AT}, answer)) == differences


@pytest.mark.parametrize(
    ("request_line", "body", "status", "code"),
    [
        (f"POST {PROJECT}/keys", {"rateLimit": 1000}, 400, "MISSING_REQUIRED_FIELD"),
        (f"POST {PROJECT}/connectors", {**WHATSAPP, "type": "pigeon"}, 400, "INVALID_CONNECTOR_TYPE"),
        (f"POST {PROJECT}/templates", {**NEW_TEMPLATE, "connectorType": "pigeon"}, 400, "INVALID_CONNECTOR_TYPE"),
        (f"POST {PROJECT}/connectors", {**WHATSAPP, "credentials": {}}, 400, "MISSING_REQUIRED_FIELD"),
        # The reference's INVALID_CREDENTIALS with a 400; api.md tells the two apart.
        (
            f"POST {PROJECT}/connectors",
            {**TWILIO, "credentials": {**TWILIO["credentials"], "fromNumber": "+0"}},
            400,
            "INVALID_CONNECTOR_CREDENTIALS",
        ),
        (f"GET /api/v1/projects/proj_{NOBODY}", None, 404, "PROJECT_NOT_FOUND"),
        (f"GET {PROJECT}/keys/key_{NOBODY}", None, 404, "KEY_NOT_FOUND"),
        (f"GET {PROJECT}/connectors/conn_{NOBODY}", None, 404, "CONNECTOR_NOT_FOUND"),
        (f"GET {PROJECT}/templates/tpl_{NOBODY}", None, 404, "TEMPLATE_NOT_FOUND"),
        (f"GET {TEMPLATE}/versions/7", None, 404, "TEMPLATE_VERSION_NOT_FOUND"),
    ],
)
async def test_an_error_has_the_references_code(
    tenant: Tenant, request_line: str, body: Any, status: int, code: str
) -> None:
    response = await _send(tenant, request_line, body, await _fill(tenant))
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert isinstance(response.json()["error"], str)
    assert isinstance(response.json()["details"], dict)


async def test_a_provider_that_cannot_be_asked_is_a_third_party_error(tenant: Tenant) -> None:
    values = await _fill(tenant)
    credentials = {"host": "127.0.0.1", "port": refused_port(), "security": "none", "fromAddress": "a@example.com"}
    body = {"type": "smtp", "name": "Mail", "credentials": credentials}
    response = await _send(tenant, f"POST {PROJECT}/connectors?verify=true", body, values)
    assert (response.status_code, response.json()["code"]) == (502, "THIRD_PARTY_ERROR"), response.text


async def test_who_may_only_look_is_denied_access(api: Api, tenant: Tenant) -> None:
    values = await _fill(tenant)
    viewer = Tenant(api, await api.register())
    project_id, user_id = ids.decode(ids.PROJECT, values["projectId"]), ids.decode(ids.USER, viewer.account.user_id)
    assert project_id is not None
    assert user_id is not None
    async with api.platform.database.transaction() as session:
        session.add(ProjectMember(project_id=project_id, user_id=user_id, role="viewer"))
    for case in CASES:
        changes = PROJECT in case.request and not case.request.startswith("GET")
        response = await _send(viewer, case.request, case.body, values)
        expected = (403, "ACCESS_DENIED") if changes else (case.status, None)
        assert (response.status_code, response.json().get("code")) == expected, case.request


async def test_tokens_are_refused_with_the_references_codes(api: Api, tenant: Tenant) -> None:
    secret = api.platform.settings.require_jwt_secret()
    expired = sign_access_token(
        secret, AccessClaims(UUID(int=1), UUID(int=2)), now=datetime.now(UTC) - timedelta(hours=1), life_s=60
    )
    for token, code in ((expired, "TOKEN_EXPIRED"), ("nonsense", "INVALID_TOKEN"), ("", "INVALID_TOKEN")):
        response = await api.client.get("/api/v1/projects", headers={"Authorization": f"Bearer {token}"})
        assert (response.status_code, response.json()["code"]) == (401, code)
    del tenant


async def test_keys_are_refused_with_the_references_codes(api: Api, tenant: Tenant) -> None:
    values = await _fill(tenant)
    key = await api.key(tenant.account, values["projectId"], rateLimit=1)
    body = {"to": "someone", "connector": "sandbox", "message": "Hi"}

    async def code_with(text: str) -> tuple[int, str | None]:
        headers = {"Authorization": f"Bearer {text}"} if text else {}
        response = await api.client.post("/api/v1/messages", json=body, headers=headers)
        return response.status_code, response.json().get("code")

    assert await code_with("") == (401, "MISSING_API_KEY")
    assert await code_with("sk_live_" + "x" * 32) == (401, "INVALID_API_KEY")
    assert await code_with(key["key"]) == (202, None)
    assert await code_with(key["key"]) == (429, "RATE_LIMIT_EXCEEDED")
    await _send(tenant, f"PUT {CONNECTOR}", {"isActive": False}, values)
    inactive = {**body, "connectorId": values["connectorId"]}
    del inactive["connector"]
    refused = await api.client.post("/api/v1/messages", json=inactive, headers=tenant.key_headers)
    assert (refused.status_code, refused.json()["code"]) == (400, "CONNECTOR_NOT_ACTIVE")


async def test_an_expired_key_says_so(api: Api, tenant: Tenant) -> None:
    values = await _fill(tenant)
    regenerated = await _send(tenant, f"POST {KEY}/regenerate", {"overlap": 1}, values)
    assert regenerated.status_code == 200
    deadline = datetime.fromisoformat(regenerated.json()["previousKeyExpiresAt"])
    body = {"to": "someone", "connector": "sandbox", "message": "Hi"}
    while True:
        response = await api.client.post("/api/v1/messages", json=body, headers=tenant.key_headers)
        if response.status_code == 401:
            break
        assert response.status_code == 202
        await asyncio.sleep(0.1)
    assert datetime.now(UTC) >= deadline
    assert response.json()["code"] == "API_KEY_EXPIRED"
