"""Names are one line wherever somebody gives one: mails, logs and lists show them."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.api.accounts import Account, Api
from tests.api.tenant import Tenant

NAMES = ("X\r\nBcc: eve@example.com", "two\nlines", "turned \u202e around", "a\tb", "\x7f")
STEPS = [{"channel": "sandbox"}]
# Below a project, what is sent beside the name; and the parameter of its id.
NOUNS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "connectors": ({"type": "sandbox"}, "connectorId"),
    "templates": ({"connectorType": "sandbox", "content": "Hello"}, "templateId"),
    "keys": ({"kind": "secret"}, "keyId"),
    "routes": ({"steps": STEPS}, "routeId"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("noun", NOUNS)
async def test_a_name_is_one_line_when_it_is_given_and_when_it_is_changed(
    api: Api, ada: Account, noun: str, name: str
) -> None:
    fields, parameter = NOUNS[noun]
    tenant = Tenant(api, ada)
    path = f"/api/v1/projects/{ada.project_id}/{noun}"
    created = await api.post(ada, path, {**fields, "name": name})
    known = f"{path}/{await tenant.id_of(parameter)}"
    changed = await api.client.put(known, json={"name": name}, headers=ada.headers)
    for answer in (created, changed):
        assert answer.status_code == 400, answer.text
        assert [error["field"] for error in answer.json()["details"]["errors"]] == ["name"]
        assert "control character" in answer.json()["error"]
