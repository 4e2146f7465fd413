"""Templates over HTTP: reference 002's examples, versions, and errors that name the line."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend import ids
from backend.ids import new_id
from tests.api.accounts import Account, Api

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
    new = await created(api, ada)
    assert new["id"].startswith("tpl_")
    assert {key: new[key] for key in WELCOME} == WELCOME
    assert (new["isActive"], new["version"], new["access"], new["onUncertain"]) == (
        True,
        1,
        "secret_only",
        "hold",
    )
    assert (await api.get(ada, path_of(ada, new["id"]))).json() == new
    listed = (await api.get(ada, path_of(ada))).json()
    assert new in listed["templates"]
    assert listed["pagination"]["total"] >= 1


async def test_the_references_update_example(api: Api, ada: Account) -> None:
    new = await created(api, ada)
    body = {
        "content": "Hi {{name}}, thanks for joining {{company}}!",
        "variables": ["name", "company"],
    }
    changed = await api.put(ada, path_of(ada, new["id"]), body)
    assert changed.status_code == 200
    assert {key: changed.json()[key] for key in body} == body
    assert changed.json()["updatedAt"] > new["updatedAt"]


async def test_variables_left_out_are_detected(api: Api, ada: Account) -> None:
    body = {key: value for key, value in WELCOME.items() if key != "variables"}
    new = await api.post(ada, path_of(ada), body)
    assert new.json()["variables"] == ["name", "company", "code"]


async def test_a_new_text_is_a_new_version_and_another_name_is_not(api: Api, ada: Account) -> None:
    new = await created(api, ada)
    path = path_of(ada, new["id"])
    assert (await api.put(ada, path, {"name": "Renamed", "isActive": False})).json()["version"] == 1
    assert (await api.put(ada, path, {"content": WELCOME["content"]})).json()["version"] == 1
    assert (await api.put(ada, path, {"content": WELCOME["content"] + "!"})).json()["version"] == 2
    assert (await api.put(ada, path, {"subject": "S"})).json()["version"] == 3
    cleared = (await api.put(ada, path, {"subject": None})).json()
    assert (cleared["version"], cleared["subject"]) == (4, None)


async def test_a_changed_text_brings_its_variables_along(api: Api, ada: Account) -> None:
    new = await created(api, ada, variables=["name", "company", "code", "spare"])
    changed = (
        await api.put(ada, path_of(ada, new["id"]), {"content": "{{greeting}} {{name}}"})
    ).json()
    # company and code went with the text that used them; spare was declared on purpose.
    assert changed["variables"] == ["greeting", "name", "spare"]


async def test_variants_are_kept_per_channel(api: Api, ada: Account) -> None:
    variants = {
        "whatsapp": {"name": "welcome_v2", "language": "en_US", "parameters": ["name", "code"]},
        "email": {"subject": "For {{name}}", "html": "<p>{{code}}</p>"},
        "sms": {"content": "{{code}}"},
    }
    new = await created(api, ada, variants=variants)
    assert new["variants"] == variants
    assert (await api.put(ada, path_of(ada, new["id"]), {"variants": {}})).json()["variants"] == {}


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
    new = await created(api, ada)
    path = path_of(ada, new["id"])
    for body in (
        {"content": "{{ x"},
        {"variables": ["name"]},
        {"connectorType": "pigeon"},
        {"name": ""},
    ):
        assert (await api.put(ada, path, body)).status_code == 400, body
    assert (await api.get(ada, path)).json() == new


async def test_a_deleted_template_is_gone(api: Api, ada: Account) -> None:
    new = await created(api, ada)
    path = path_of(ada, new["id"])
    assert (await api.delete(ada, path)).status_code == 204
    for response in (
        await api.get(ada, path),
        await api.put(ada, path, {"name": "x"}),
        await api.delete(ada, path),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "TEMPLATE_NOT_FOUND")


async def test_other_tenants_templates_do_not_exist(api: Api, ada: Account) -> None:
    new = await created(api, ada)
    stranger = await api.register()
    for path in (
        path_of(ada, new["id"]),
        path_of(stranger, new["id"]),
        path_of(stranger, "tpl_nonsense"),
        path_of(stranger, ids.encode(ids.TEMPLATE, new_id())),
    ):
        assert (await api.get(stranger, path)).status_code == 404
    assert (await api.client.get(path_of(ada))).status_code == 401


async def test_a_preview_shows_values_gaps_and_segments(api: Api, ada: Account) -> None:
    new = await created(api, ada, connectorType="twilio")
    shown = await api.post(
        ada, path_of(ada, new["id"]) + "/preview", {"variables": {"name": "Ann", "code": 1}}
    )
    assert shown.status_code == 200
    answer = shown.json()
    assert answer["text"] == "Hello Ann, welcome to {{company}}! Your code is: 1"
    assert (answer["channel"], answer["missing"], answer["problems"]) == ("sms", ["company"], [])
    assert answer["sms"]["segments"] == 1


async def test_a_preview_takes_unsaved_texts_and_saves_nothing(api: Api, ada: Account) -> None:
    new = await created(api, ada)
    path = path_of(ada, new["id"])
    unsaved = {
        "content": "Bye {{name}}",
        "subject": "S",
        "connectorType": "smtp",
        "variables": {"name": "Ann"},
    }
    answer = (await api.post(ada, f"{path}/preview", unsaved)).json()
    assert (answer["text"], answer["subject"], answer["variables"]) == ("Bye Ann", "S", ["name"])
    broken = (await api.post(ada, f"{path}/preview", {"content": "Bye {{ na"})).json()
    assert broken["problems"][0]["field"] == "content"
    assert (await api.get(ada, path)).json() == new


async def test_every_text_a_template_had_can_be_read(api: Api, ada: Account) -> None:
    new = await created(api, ada)
    path = path_of(ada, new["id"])
    await api.put(ada, path, {"content": "Hi {{name}}"})
    await api.put(ada, path, {"name": "Renamed"})
    await api.put(ada, path, {"variants": {"sms": {"content": "Hey {{name}}"}}})
    body = (await api.get(ada, f"{path}/versions")).json()
    assert [item["version"] for item in body["versions"]] == [3, 2, 1]
    assert body["pagination"]["total"] == 3
    first = (await api.get(ada, f"{path}/versions/1")).json()
    assert first == body["versions"][2]
    assert {key: first[key] for key in ("content", "variables")} == {
        "content": WELCOME["content"],
        "variables": WELCOME["variables"],
    }
    assert (first["createdBy"], first["restoredFrom"]) == (ada.user_id, None)
    assert body["versions"][0]["variants"] == {"sms": {"content": "Hey {{name}}"}}
    for version, status in (("4", 404), ("0", 400), ("first", 400), ("9" * 20, 400)):
        assert (await api.get(ada, f"{path}/versions/{version}")).status_code == status


async def test_a_rollback_is_a_new_version_with_the_old_texts(api: Api, ada: Account) -> None:
    new = await created(api, ada, subject="For {{name}}", variants={"sms": {"content": "{{code}}"}})
    path = path_of(ada, new["id"])
    later: dict[str, Any] = {
        "content": "Hi {{name}}",
        "subject": None,
        "variants": {},
        "name": "Renamed",
    }
    assert (await api.put(ada, path, later)).status_code == 200
    back = (await api.post(ada, f"{path}/rollback", {"version": 1})).json()
    texts = ("content", "subject", "variables", "variants")
    assert {key: back[key] for key in texts} == {key: new[key] for key in texts}
    assert (back["version"], back["name"]) == (3, "Renamed")
    assert (await api.get(ada, f"{path}/versions/3")).json()["restoredFrom"] == 1
    # To what it is already: nothing happens.
    assert (await api.post(ada, f"{path}/rollback", {"version": 3})).json()["version"] == 3
    missing = await api.post(ada, f"{path}/rollback", {"version": 9})
    assert (missing.status_code, missing.json()["code"]) == (404, "TEMPLATE_VERSION_NOT_FOUND")
    assert (await api.post(ada, f"{path}/rollback", {})).json()["code"] == "MISSING_REQUIRED_FIELD"


async def test_a_send_uses_the_text_that_was_rolled_back_to(api: Api, ada: Account) -> None:
    new = await created(
        api, ada, connectorType="sandbox", content="One {{name}}", variables=["name"]
    )
    path = path_of(ada, new["id"])
    await api.put(ada, path, {"content": "Two {{name}}"})
    key = (await api.key(ada))["key"]

    async def sent_text() -> str:
        body = {"to": "someone", "templateId": new["id"], "variables": {"name": "Ann"}}
        headers = {"Authorization": f"Bearer {key}"}
        message_id = (await api.client.post("/api/v1/messages", json=body, headers=headers)).json()[
            "messageId"
        ]
        text: str = (await api.get(ada, f"/api/v1/messages/{message_id}")).json()["text"]
        return text

    assert await sent_text() == "Two Ann"
    await api.post(ada, f"{path}/rollback", {"version": 1})
    assert await sent_text() == "One Ann"


async def test_changes_at_the_same_time_are_versions_one_after_another(
    api: Api, ada: Account
) -> None:
    new = await created(api, ada, content="0", variables=[])
    path = path_of(ada, new["id"])
    answers = await asyncio.gather(
        *(api.put(ada, path, {"content": str(number)}) for number in range(1, 5))
    )
    assert sorted(answer.json()["version"] for answer in answers) == [2, 3, 4, 5]
    assert (await api.get(ada, f"{path}/versions")).json()["pagination"]["total"] == 5


async def test_a_template_is_switched_off_and_on(api: Api, ada: Account) -> None:
    path = path_of(ada, (await created(api, ada))["id"])
    assert (await api.post(ada, f"{path}/deactivate")).json()["isActive"] is False
    assert (await api.get(ada, path)).json()["isActive"] is False
    on = (await api.post(ada, f"{path}/activate")).json()
    assert (on["isActive"], on["version"]) == (True, 1)


async def test_the_list_is_searched_by_name_type_and_being_active(api: Api) -> None:
    account = await api.register()
    for name, type_ in (("Welcome", "whatsapp"), ("Welcome back", "twilio"), ("Code_1", "twilio")):
        await created(api, account, name=name, connectorType=type_, isActive=name != "Welcome back")

    async def names(**params: Any) -> list[str]:
        result = (await api.get(account, path_of(account), **params)).json()["templates"]
        return [template["name"] for template in result]

    assert await names(connectorType="twilio") == ["Code_1", "Welcome back"]
    assert await names(connectorType="twilio", isActive=True) == ["Code_1"]
    assert await names(q="welcome", isActive=False) == ["Welcome back"]
    assert await names(q="_") == ["Code_1"]
    assert await names(connectorType="pigeon") == []


async def test_the_same_name_may_be_used_twice(api: Api, ada: Account) -> None:
    assert (await created(api, ada))["id"] != (await created(api, ada))["id"]


async def test_a_change_from_an_old_reading_is_refused(api: Api, ada: Account) -> None:
    path = path_of(ada, (await created(api, ada))["id"])
    headers = {**ada.headers, "If-Match": (await api.get(ada, path)).headers["ETag"]}
    assert (await api.client.put(path, json={"content": "One"}, headers=headers)).status_code == 200
    assert (await api.client.put(path, json={"content": "Two"}, headers=headers)).status_code == 412
    assert (await api.get(ada, path)).json()["content"] == "One"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (
            {"variants": {"whatsapp": {"name": "Welcome V2", "language": "en"}}},
            "variants.whatsapp.name",
        ),
        (
            {"variants": {"whatsapp": {"name": "welcome", "language": "English"}}},
            "variants.whatsapp.language",
        ),
        (
            {"variants": {"whatsapp": {"name": "w", "language": "en", "parameters": ["x y"]}}},
            "variants.whatsapp.parameters",
        ),
        ({"variants": {"email": {"subject": "Two\nlines"}}}, "variants.email.subject"),
        ({"subject": "Two\nlines"}, "subject"),
        ({"variants": {"sms": {"content": "{{ x"}}}, "variants.sms.content"),
    ],
)
async def test_a_wrong_variant_is_named(
    api: Api, ada: Account, changes: dict[str, Any], field: str
) -> None:
    response = await api.post(ada, path_of(ada), {**WELCOME, **changes})
    assert response.status_code == 400, response.text
    assert response.json()["details"]["errors"][0]["field"] == field


async def test_a_preview_is_what_each_channel_would_get(api: Api, ada: Account) -> None:
    variants = {
        "whatsapp": {"name": "welcome_v2", "language": "en_US", "parameters": ["code", "name"]},
        "email": {"subject": "For {{name}}", "html": "<b>{{name}}</b>"},
        "sms": {"content": "{{code}}"},
    }
    path = path_of(ada, (await created(api, ada, variants=variants))["id"]) + "/preview"
    values = {"name": "<Ann>", "company": "Acme", "code": "7"}

    async def shown(type_: str) -> dict[str, Any]:
        answer: dict[str, Any] = (
            await api.post(ada, path, {"variables": values, "connectorType": type_})
        ).json()
        return answer

    whatsapp, email, sms = await shown("whatsapp"), await shown("smtp"), await shown("twilio")
    assert whatsapp["providerTemplate"] == {
        "name": "welcome_v2",
        "language": "en_US",
        "parameters": ["7", "<Ann>"],
    }
    assert (email["subject"], email["html"]) == ("For <Ann>", "<b>&lt;Ann&gt;</b>")
    assert (sms["text"], sms["sms"]) == ("7", {"encoding": "GSM-7", "units": 1, "segments": 1})
    assert (await shown("telegram"))["text"] == "Hello <Ann>, welcome to Acme! Your code is: 7"


async def test_a_preview_of_a_bomb_says_what_is_wrong_and_many_of_them_have_to_wait(
    api: Api, ada: Account
) -> None:
    path = path_of(ada, (await created(api, ada))["id"]) + "/preview"
    ranges = (
        await api.post(
            ada, path, {"content": 'a\n{% if (1..99999999999) contains "x" %}a{% endif %}'}
        )
    ).json()
    assert "line 2: a range's ends" in ranges["problems"][0]["message"]
    # It takes the whole fuel of a rendering each time, and is another text each time.
    loop = "{% for i in (1..2000) %}" + "{{ i }}" * 40 + "{% endfor %}"
    for number in range(100):
        answer = await api.post(ada, path, {"content": f"{number}{loop}"})
        if answer.status_code == 429:
            break
        assert "steps" in answer.json()["problems"][0]["message"]
    assert answer.json()["code"] == "RENDERING_LIMIT_EXCEEDED"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


async def test_a_preview_takes_no_larger_values_than_a_send(api: Api, ada: Account) -> None:
    path = (
        path_of(ada, (await created(api, ada, content="{{name}}", variables=["name"]))["id"])
        + "/preview"
    )
    for value in (["x"] * 1_001, "x" * 32_769, [[[[[["deep"]]]]]], 2 * 10**18):
        problems = (await api.post(ada, path, {"variables": {"name": value}})).json()["problems"]
        assert [problem["field"] for problem in problems] == ["variables.name"]
