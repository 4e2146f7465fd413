"""For every route with an id, another tenant's id is a 404 and changes nothing.

The routes come from the OpenAPI document: a new one is covered without a line here. Only a new kind
of id needs a maker in `Tenant`, and this says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio

from tests.api.accounts import Account, Api
from tests.api.doors import DOCUMENT
from tests.api.sample_bodies import sample, sample_body
from tests.api.tenant import Tenant

# For the server's administrators, who are above tenants: anybody else is refused whatever the id.
ADMINISTRATION: Final = "/api/v1/admin/"
# Of providers, who know no tenants: a signature under the connector's own secret is the proof.
CALLBACKS: Final = "/api/v1/callbacks/"


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    path_parameters: dict[str, Any]
    query_parameters: tuple[str, ...]
    body: Any = field(compare=False)

    @property
    def id_names(self) -> list[str]:
        return [name for name in self.path_parameters if name.endswith("Id")]


def _operation(method: str, path: str, described: dict[str, Any]) -> Operation:
    parameters = described.get("parameters", [])
    return Operation(
        method.upper(),
        path,
        {
            parameter["name"]: sample(DOCUMENT, parameter["schema"])
            for parameter in parameters
            if parameter["in"] == "path"
        },
        tuple(parameter["name"] for parameter in parameters if parameter["in"] == "query"),
        sample_body(DOCUMENT, described),
    )


OPERATIONS: Final = [
    operation
    for path, described in DOCUMENT["paths"].items()
    for method, item in described.items()
    if not path.startswith(CALLBACKS)
    and (
        (operation := _operation(method, path, item)).id_names
        or "projectId" in operation.query_parameters
    )
]


@pytest_asyncio.fixture(scope="module")
async def tenants(api: Api, ada: Account) -> AsyncIterator[tuple[Tenant, Tenant]]:
    """The tenant whose ids are tried, and the stranger who tries them.

    Neither is the server's administrator.
    """
    del ada  # registered first, which makes an administrator
    yield Tenant(api, await api.register()), Tenant(api, await api.register())


async def _call(
    api: Api, operation: Operation, values: dict[str, Any], headers: dict[str, str]
) -> httpx.Response:
    path = operation.path
    for name, value in values.items():
        path = path.replace("{" + name + "}", str(value))
    query = {"projectId": values["projectId"]} if "projectId" in operation.query_parameters else {}
    return await api.client.request(
        operation.method, path, headers=headers, params=query, json=operation.body
    )


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda item: f"{item.method} {item.path}")
async def test_another_tenants_id_is_not_found_and_changes_nothing(
    api: Api, tenants: tuple[Tenant, Tenant], operation: Operation
) -> None:
    owner, stranger = tenants
    await owner.fresh_project()
    await stranger.fresh_project()
    ids_of_owner = {name: await owner.id_of(name) for name in operation.id_names}
    values = {**operation.path_parameters, "projectId": owner.project_id, **ids_of_owner}
    tried = [values]
    if len(operation.id_names) > 1:
        # The right resource, asked for through the stranger's own project.
        tried.append({**values, "projectId": stranger.project_id})
    before = await owner.rows()
    assert before["projects"]
    for attempt in tried:
        by_person = await _call(api, operation, attempt, stranger.account.headers)
        by_key = await _call(api, operation, attempt, stranger.key_headers)
        _check_refused(operation, by_person, by_key)
    assert await owner.rows() == before
    if not operation.path.startswith(ADMINISTRATION):
        await _check_that_the_owner_gets_there(api, operation, values, owner)


def _check_refused(operation: Operation, by_person: httpx.Response, by_key: httpx.Response) -> None:
    answers = {by_person.status_code, by_key.status_code}
    detail = (
        f"by person {by_person.status_code} {by_person.text}; by key {by_key.status_code}"
        f" {by_key.text}"
    )
    if operation.path.startswith(ADMINISTRATION):
        assert (by_person.status_code, by_key.status_code) == (403, 401), detail
        return
    # A route may take people only, or keys only: the other kind is a 401.
    assert 404 in answers, detail
    assert answers <= {401, 404}, detail
    for answer in (by_person, by_key):
        assert answer.status_code == 401 or answer.json()["code"].endswith("_NOT_FOUND"), detail


async def _check_that_the_owner_gets_there(
    api: Api, operation: Operation, values: dict[str, Any], owner: Tenant
) -> None:
    """Without this a route that answers 404 to everybody would pass."""
    answer = await _call(api, operation, values, owner.account.headers)
    if answer.status_code == 401:
        answer = await _call(api, operation, values, owner.key_headers)
    # Over all routes, so that no one code fits. 409: the resource was found, and its state forbids
    # the change (the last owner cannot leave).
    assert answer.status_code < 300 or answer.status_code == 409, answer.text


def test_the_routes_are_those_of_the_document() -> None:
    named = {(item.method, item.path) for item in OPERATIONS}
    assert {
        ("DELETE", "/api/v1/projects/{projectId}"),
        ("PUT", "/api/v1/projects/{projectId}/keys/{keyId}"),
        ("GET", "/api/v1/messages/{messageId}"),
        ("GET", "/api/v1/messages"),
    } <= named
    assert ("POST", "/api/v1/projects") not in named


async def test_a_change_of_a_row_would_be_noticed(api: Api, tenants: tuple[Tenant, Tenant]) -> None:
    owner, _ = tenants
    await owner.fresh_project()
    template_id = await owner.id_of("templateId")
    before = await owner.rows()
    path = f"/api/v1/projects/{owner.project_id}/templates/{template_id}"
    assert (await api.put(owner.account, path, {"name": "Changed"})).status_code == 200
    after = await owner.rows()
    assert {name for name in before if before[name] != after[name]} == {
        "templates",
        "audit_entries",
    }
