"""Templates over HTTP: reference 002's examples, versions, and errors that name the line."""

from __future__ import annotations

from typing import Any

import pytest

from backend import ids
from backend.ids import new_id
from tests.api.conftest import Account, Api

WELCOME: dict[str, Any] = {
    "name": "Welcome Message",
    "connectorType": "whatsapp",
    "content": "Hello {{name}}, welcome to {{company}}! Your code is: {{code}}",
    "variables": ["name", "company", "code"],
}


def path_of(account: Account, template_id: str = "") -> str:
    base = f"/api/v1/projects/{account.project_id}/templates"
    return f"{base}/{template_id}" if template_id else base


async def created(api: Api, account: Account, **changes: Any) -> dict[str, Any]:
    response = await api.post(account, path_of(account), {**WELCOME, **changes})
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_the_references_example_round_trips(api: Api, ada: Account) -> None:
    made = await created(api, ada)
    assert made["id"].startswith("tpl_")
    assert {key: made[key] for key in WELCOME} == WELCOME
    assert (made["isActive"], made["version"], made["access"], made["onUncertain"]) == (True, 1, "secret_only", "hold")
    assert (await api.get(ada, path_of(ada, made["id"]))).json() == made
    listed = (await api.get(ada, path_of(ada))).json()
    assert made in listed["templates"]
    assert listed["pagination"]["total"] >= 1


async def test_the_references_update_example(api: Api, ada: Account) -> None:
    made = await created(api, ada)
    body = {"content": "Hi {{name}}, thanks for joining {{company}}!", "variables": ["name", "company"]}
    changed = await api.put(ada, path_of(ada, made["id"]), body)
    assert changed.status_code == 200
    assert {key: changed.json()[key] for key in body} == body
    assert changed.json()["updatedAt"] > made["updatedAt"]


async def test_variables_left_out_are_detected(api: Api, ada: Account) -> None:
    body = {key: value for key, value in WELCOME.items() if key != "variables"}
    made = await api.post(ada, path_of(ada), body)
    assert made.json()["variables"] == ["name", "company", "code"]


async def test_a_new_text_is_a_new_version_and_another_name_is_not(api: Api, ada: Account) -> None:
    made = await created(api, ada)
    path = path_of(ada, made["id"])
    assert (await api.put(ada, path, {"name": "Renamed", "isActive": False})).json()["version"] == 1
    assert (await api.put(ada, path, {"content": WELCOME["content"]})).json()["version"] == 1
    assert (await api.put(ada, path, {"content": WELCOME["content"] + "!"})).json()["version"] == 2
    assert (await api.put(ada, path, {"subject": "S"})).json()["version"] == 3
    cleared = (await api.put(ada, path, {"subject": None})).json()
    assert (cleared["version"], cleared["subject"]) == (4, None)


async def test_a_changed_text_brings_its_variables_along(api: Api, ada: Account) -> None:
    made = await created(api, ada, variables=["name", "company", "code", "spare"])
    changed = (await api.put(ada, path_of(ada, made["id"]), {"content": "{{greeting}} {{name}}"})).json()
    # company and code went with the text that used them; spare was declared on purpose.
    assert changed["variables"] == ["greeting", "name", "spare"]


async def test_variants_are_kept_per_channel(api: Api, ada: Account) -> None:
    variants = {
        "whatsapp": {"name": "welcome_v2", "language": "en_US", "parameters": ["name", "code"]},
        "email": {"subject": "For {{name}}", "html": "<p>{{code}}</p>"},
        "sms": {"content": "{{code}}"},
    }
    made = await created(api, ada, variants=variants)
    assert made["variants"] == variants
    assert (await api.put(ada, path_of(ada, made["id"]), {"variants": {}})).json()["variants"] == {}


@pytest.mark.parametrize(
    ("changes", "code", "field", "says"),
    [
        ({"content": "Hi\n{{ name", "variables": None}, "VALIDATION_ERROR", "content", "line 2"),
        ({"content": "{% for %}"}, "VALIDATION_ERROR", "content", "line 1"),
        ({"content": "{% include 'x' %}"}, "VALIDATION_ERROR", "content", "include"),
        ({"html": "<p>\n\n{{ x | shout }}"}, "VALIDATION_ERROR", "html", "line 3"),
        ({"content": "{{other}}"}, "UNDECLARED_VARIABLE", "variables", "'other'"),
        ({"content": ""}, "VALIDATION_ERROR", "content", "empty"),
        ({"content": "   "}, "MISSING_REQUIRED_FIELD", "content", "text"),
        ({"content": "x" * 65_537}, "VALIDATION_ERROR", "content", "65536"),
        ({"content": "a\u0000b"}, "VALIDATION_ERROR", "content", "NUL"),
        ({"connectorType": "pigeon"}, "INVALID_CONNECTOR_TYPE", "connectorType", "sandbox"),
        ({"variables": ["a b"]}, "VALIDATION_ERROR", "variables[0]", "'a b'"),
        ({"variables": "name"}, "VALIDATION_ERROR", "variables", "list"),
        ({"access": "open"}, "VALIDATION_ERROR", "access", "secret_only"),
        ({"onUncertain": "pray"}, "VALIDATION_ERROR", "onUncertain", "hold"),
        ({"variants": {"fax": {}}}, "UNKNOWN_FIELD", "variants.fax", "fax"),
        ({"variants": {"sms": {}}}, "MISSING_REQUIRED_FIELD", "variants.sms.content", "content"),
        ({"colour": "red"}, "UNKNOWN_FIELD", "colour", "colour"),
    ],
)
async def test_a_wrong_template_names_field_and_remedy(
    api: Api, ada: Account, changes: dict[str, Any], code: str, field: str, says: str
) -> None:
    response = await api.post(ada, path_of(ada), {**WELCOME, **changes})
    assert response.status_code == 400, response.text
    error = response.json()["details"]["errors"][0]
    assert (response.json()["code"], error["field"]) == (code, field)
    assert says in error["message"]


async def test_an_update_is_checked_like_a_new_template(api: Api, ada: Account) -> None:
    made = await created(api, ada)
    path = path_of(ada, made["id"])
    for body in ({"content": "{{ x"}, {"variables": ["name"]}, {"connectorType": "pigeon"}, {"name": ""}):
        assert (await api.put(ada, path, body)).status_code == 400, body
    assert (await api.get(ada, path)).json() == made


async def test_a_deleted_template_is_gone(api: Api, ada: Account) -> None:
    made = await created(api, ada)
    path = path_of(ada, made["id"])
    assert (await api.delete(ada, path)).status_code == 204
    for response in (await api.get(ada, path), await api.put(ada, path, {"name": "x"}), await api.delete(ada, path)):
        assert (response.status_code, response.json()["code"]) == (404, "TEMPLATE_NOT_FOUND")


async def test_other_tenants_templates_do_not_exist(api: Api, ada: Account) -> None:
    made = await created(api, ada)
    stranger = await api.register()
    for path in (
        path_of(ada, made["id"]),
        path_of(stranger, made["id"]),
        path_of(stranger, "tpl_nonsense"),
        path_of(stranger, ids.encode(ids.TEMPLATE, new_id())),
    ):
        assert (await api.get(stranger, path)).status_code == 404
    assert (await api.client.get(path_of(ada))).status_code == 401


async def test_a_preview_shows_values_gaps_and_segments(api: Api, ada: Account) -> None:
    made = await created(api, ada, connectorType="twilio")
    shown = await api.post(ada, path_of(ada, made["id"]) + "/preview", {"variables": {"name": "Ann", "code": 1}})
    assert shown.status_code == 200
    answer = shown.json()
    assert answer["text"] == "Hello Ann, welcome to {{company}}! Your code is: 1"
    assert (answer["channel"], answer["missing"], answer["problems"]) == ("sms", ["company"], [])
    assert answer["sms"]["segments"] == 1


async def test_a_preview_takes_unsaved_texts_and_saves_nothing(api: Api, ada: Account) -> None:
    made = await created(api, ada)
    path = path_of(ada, made["id"])
    unsaved = {"content": "Bye {{name}}", "subject": "S", "connectorType": "smtp", "variables": {"name": "Ann"}}
    answer = (await api.post(ada, f"{path}/preview", unsaved)).json()
    assert (answer["text"], answer["subject"], answer["variables"]) == ("Bye Ann", "S", ["name"])
    broken = (await api.post(ada, f"{path}/preview", {"content": "Bye {{ na"})).json()
    assert broken["problems"][0]["field"] == "content"
    assert (await api.get(ada, path)).json() == made
