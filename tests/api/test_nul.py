"""A NUL character, which Postgres stores in no text, ends in a clear refusal wherever it stands, and never in a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from backend.api.app import create_api
from backend.settings import Settings
from tests.api.apps import make_admin
from tests.api.conftest import Account, Api
from tests.api.sample_bodies import filled, operations, sample, sample_body
from tests.api.tenant import Tenant

NUL: Final = "a\0b"
DOCUMENT: Final = create_api(Settings()).openapi()
OPERATIONS: Final = {f"{method} {path}": (method, path, one) for method, path, one in operations(DOCUMENT)}
# They end the log-in of the run.
_ENDING: Final = ("POST /api/v1/auth/logout", "DELETE /api/v1/auth/sessions/{sessionId}")


@pytest.fixture(scope="module")
async def admin(api: Api, ada: Account) -> Account:
    """May call everything; `ada`, who came first, is another administrator."""
    del ada
    account = await api.register()
    await make_admin(api, account)
    return account


def _spoiled(value: Any) -> Iterator[Any]:
    """Yield copies of the body with a NUL in one of its texts each."""
    if isinstance(value, str):
        yield NUL
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from ({**value, name: spoiled} for spoiled in _spoiled(one))
        yield {**value, NUL: NUL}
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from ([*value[:i], spoiled, *value[i + 1 :]] for spoiled in _spoiled(one))


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in _ENDING])
async def test_a_nul_is_refused(api: Api, admin: Account, name: str) -> None:
    method, path, operation = OPERATIONS[name]
    tenant = Tenant(api, admin)
    with_key = path.startswith(("/api/v1/messages", "/api/v1/send", "/api/v1/campaigns")) and method == "POST"
    if with_key:
        await tenant.fresh_project()
    headers = tenant.key_headers if with_key else admin.headers
    parameters = operation.get("parameters", [])
    ids = {one["name"]: str(sample(DOCUMENT, one["schema"])) for one in parameters if one["in"] == "path"}
    url = filled(path, **{**ids, "projectId": tenant.project_id})
    query = {} if with_key else {"projectId": admin.project_id}
    answers = [
        await api.client.request(method, url, headers=headers, params={**query, one["name"]: NUL})
        for one in parameters
        if one["in"] == "query"
    ]
    for one in ids:
        spoiled = filled(path, **{**ids, "projectId": tenant.project_id, one: "a%00b"})
        answers.append(await api.client.request(method, spoiled, headers=headers, params=query))
    answers += [
        await api.client.request(method, url, headers=headers, params=query, json=body)
        for body in _spoiled(sample_body(DOCUMENT, operation, everything=True))
    ]
    wrong = [(answer.status_code, str(answer.request.url), answer.text[:200]) for answer in answers]
    assert [one for one in wrong if one[0] >= 500] == []
    # Not for want of rights, and not all taken.
    assert not {401, 403} & {answer.status_code for answer in answers}
    assert not answers or any(400 <= answer.status_code < 500 for answer in answers)
