"""Reference 002, every endpoint: its example request, and its answer's status, field names and
types.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from backend.ids import new_id
from tests.api.accounts import Account, Api
from tests.api.messages import save
from tests.api.reference_endpoints import (
    AT,
    CASES,
    ENDPOINTS,
    NEW_TEMPLATE,
    NOBODY,
    PROJECT,
    WHATSAPP,
    Case,
    differences,
)
from tests.api.tenant import Tenant


@pytest_asyncio.fixture(scope="module")
async def tenant(api: Api, ada: Account) -> Tenant:
    del ada  # registered first, which makes an administrator
    return Tenant(api, await api.register())


async def _fill(tenant: Tenant) -> dict[str, str]:
    """Make a project in which every list has the row that the reference shows; return the ids."""
    api, account = tenant.api, tenant.account
    created = await api.post(
        account, "/api/v1/projects", {"name": "P", "description": "Project description"}
    )
    tenant.project_id = created.json()["id"]
    path = f"/api/v1/projects/{tenant.project_id}"
    result = {"projectId": tenant.project_id}
    for name, kind, body in (
        ("keyId", "keys", {"name": "Production Key", "rateLimit": 1000}),
        ("connectorId", "connectors", {"type": "sandbox", "name": "Sandbox"}),
        ("whatsappId", "connectors", WHATSAPP),
        ("templateId", "templates", NEW_TEMPLATE),
    ):
        answer = (await api.post(account, f"{path}/{kind}", body)).json()
        result[name] = answer["id"]
        tenant.key = answer.get("key", tenant.key)
    await tenant.id_of("messageId")  # so that the key has been used
    result["messageId"] = await _saved(tenant)
    return {**result, "email": account.email, "newEmail": f"{new_id()}@example.com"}


async def _saved(tenant: Tenant) -> str:
    """The message of the reference's answers, newer than all others, and one of its month."""
    there = Account(**{**vars(tenant.account), "project_id": tenant.project_id})
    january, now = (
        datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
        datetime.now(UTC) + timedelta(seconds=1),
    )
    for at in (january, now):
        message_id = await save(
            tenant.api,
            there,
            at=at,
            sent_at=at,
            delivered_at=at + timedelta(seconds=5),
            provider_message_id="wamid.xxx",
        )
    return message_id


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


async def _send(tenant: Tenant, case: Case, values: dict[str, str], method: str = "") -> Any:
    own_method, _, path = case.request.partition(" ")
    headers = {"user": tenant.account.headers, "key": tenant.key_headers, "nobody": {}}[case.caller]
    body = json.loads(_filled(json.dumps(case.body), values))
    return await tenant.api.client.request(
        method or own_method, _filled(path, values), headers=headers, json=body
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.request)
async def test_an_endpoint_answers_as_the_reference_shows(tenant: Tenant, case: Case) -> None:
    values = await _fill(tenant)
    response = await _send(tenant, case, values)
    assert response.status_code == case.status, response.text
    if case.shows is None:
        assert response.content == b""
        assert (await _send(tenant, case, values, "GET")).status_code == 404
        return
    answer = response.json()
    assert differences(case.shows, answer) == []
    for name, value in (case.body or {}).items():
        if name in answer and PROJECT.partition("/{")[0] in case.request:
            assert answer[name] == value
    assert "credentials" not in response.text
    assert "EAAG" not in response.text


def test_every_endpoint_has_a_case() -> None:
    listed = ENDPOINTS.split("\n")[1:-1]
    forms = {re.sub(r":\w+", "{}", line.replace(" ", " /api/v1", 1)) for line in listed}
    cases = {re.sub(r"{\w+}", "{}", case.request.partition("?")[0]) for case in CASES}
    assert len(listed) == 27
    assert cases == forms


async def test_no_endpoint_is_missing_in_the_document(api: Api) -> None:
    document = (await api.client.get("/api/openapi.json")).json()
    documented = {
        f"{method.upper()} {path}": set(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    for case in CASES:
        assert str(case.status) in documented[case.request.partition("?")[0]], case.request


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ({"id": f"key_{NOBODY}", "createdAt": AT}, 0),
        ({"id": f"key_{NOBODY}"}, 1),
        ({"id": f"key_{NOBODY}", "createdAt": None}, 1),
        ({"id": f"tpl_{NOBODY}", "createdAt": "15.1.2024"}, 2),
    ],
)
def test_the_comparison_would_notice(answer: dict[str, Any], count: int) -> None:
    assert len(differences({"id": "key_abc123", "createdAt": AT}, answer)) == count
