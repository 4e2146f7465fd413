"""`POST /messages` over HTTP: a wrong request gets a clear answer, a right one exactly one
message.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend.ids import CONNECTOR, TEMPLATE, encode, new_id
from tests.api.sender import PATH, Sender, fields_of


async def test_a_send_is_accepted_as_the_reference_says(sender: Sender) -> None:
    response = await sender.post(
        {
            "to": "ada",
            "connectorId": sender.connectors["sandbox"],
            "templateId": sender.template_id,
            "variables": {"name": "John", "code": "12345"},
        }
    )
    assert response.status_code == 202
    assert set(response.json()) == {"messageId", "status"}
    assert response.json()["status"] == "queued"
    message_id = response.json()["messageId"]
    detail = (await sender.api.get(sender.account, f"{PATH}/{message_id}")).json()
    assert detail["text"] == "Hi John, your code is 12345"
    assert response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b'{"to": "ada",', 400, "MALFORMED_BODY"),
        (b"", 400, "MALFORMED_BODY"),
        (b"[1, 2]", 400, "VALIDATION_ERROR"),
        (b'"text"', 400, "VALIDATION_ERROR"),
        (b"\xff\xfe", 400, "MALFORMED_BODY"),
    ],
)
async def test_a_body_that_isnt_a_json_object_is_called_that(
    sender: Sender, content: bytes, status: int, code: str
) -> None:
    response = await sender.post(content=content)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["error"]
    assert response.json()["requestId"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"to": None}, "to", "VALIDATION_ERROR"),
        ({"to": ""}, "to", "VALIDATION_ERROR"),
        ({"to": 42}, "to", "VALIDATION_ERROR"),
        ({"recipent": "ada"}, "recipent", "UNKNOWN_FIELD"),
        ({"variables": ["a"]}, "variables", "VALIDATION_ERROR"),
        ({"priority": "urgent"}, "priority", "VALIDATION_ERROR"),
        ({"sendAt": "tomorrow"}, "sendAt", "VALIDATION_ERROR"),
        ({"sendAt": "2030-01-01T00:00:00"}, "sendAt", "VALIDATION_ERROR"),
        ({"message": "a\x00b"}, "message", "VALIDATION_ERROR"),
        ({"metadata": {"a": "x" * 5000}}, "metadata", "VALIDATION_ERROR"),
        ({"connector": "pigeon", "connectorId": None}, "connector", "INVALID_CONNECTOR_TYPE"),
    ],
)
async def test_a_wrong_field_is_named_with_what_to_do(
    sender: Sender, changes: dict[str, Any], field: str, code: str
) -> None:
    response = await sender.post(sender.body(**changes))
    assert response.status_code == 400, response.text
    assert (field, code) in fields_of(response)
    assert await sender.total() == 0


async def test_a_missing_field_is_named(sender: Sender) -> None:
    response = await sender.post({"message": "hi", "connectorId": sender.connectors["sandbox"]})
    assert response.json()["code"] == "MISSING_REQUIRED_FIELD"
    assert fields_of(response) == {("to", "MISSING_REQUIRED_FIELD")}
    nothing_to_say = await sender.post({"to": "ada", "connectorId": sender.connectors["sandbox"]})
    assert fields_of(nothing_to_say) == {("templateId", "MISSING_REQUIRED_FIELD")}
    no_way_to_go = await sender.post({"to": "ada", "message": "hi"})
    assert fields_of(no_way_to_go) == {("connectorId", "MISSING_REQUIRED_FIELD")}


async def test_variables_must_be_the_templates(sender: Sender) -> None:
    body = {
        "to": "ada",
        "connectorId": sender.connectors["sandbox"],
        "templateId": sender.template_id,
    }
    missing = await sender.post({**body, "variables": {"name": "John"}})
    assert fields_of(missing) == {("variables.code", "MISSING_REQUIRED_FIELD")}
    assert "'otp'" in missing.json()["error"]
    assert "'code'" in missing.json()["error"]
    too_many = await sender.post(
        {**body, "variables": {"name": "John", "code": 1, "colour": "red"}}
    )
    assert fields_of(too_many) == {("variables.colour", "UNKNOWN_VARIABLE")}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"connectorId": "conn_nonsense"}, 404, "CONNECTOR_NOT_FOUND"),
        ({"connectorId": encode(CONNECTOR, new_id())}, 404, "CONNECTOR_NOT_FOUND"),
        ({"message": None, "templateId": encode(TEMPLATE, new_id())}, 404, "TEMPLATE_NOT_FOUND"),
        ({"connectorId": None, "connector": "whatsapp"}, 404, "CONNECTOR_NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_not_found(
    sender: Sender, changes: dict[str, Any], status: int, code: str
) -> None:
    response = await sender.post(sender.body(**changes))
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_an_inactive_connector_says_so(sender: Sender) -> None:
    path = f"/api/v1/projects/{sender.account.project_id}/connectors/{sender.connectors['sandbox']}"
    changed = await sender.api.client.put(
        path, json={"isActive": False}, headers=sender.account.headers
    )
    assert changed.status_code == 200
    response = await sender.post(sender.body())
    assert (response.status_code, response.json()["code"]) == (400, "CONNECTOR_NOT_ACTIVE")


async def test_an_invalid_phone_number_and_an_invalid_address_are_refused(sender: Sender) -> None:
    phone = await sender.post(
        sender.body(to="not a number", connectorId=sender.connectors["twilio"])
    )
    assert (phone.status_code, phone.json()["code"]) == (400, "INVALID_PHONE")
    address = await sender.post(sender.body(to="nobody", connectorId=sender.connectors["smtp"]))
    assert (address.status_code, address.json()["code"]) == (400, "INVALID_TO")


async def test_a_body_over_the_limit_is_413_and_another_content_type_415(sender: Sender) -> None:
    limit = sender.api.platform.settings.body_limit_bytes
    large = await sender.post(content=b'{"to": "' + b"a" * limit + b'"}')
    assert (large.status_code, large.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")
    form = await sender.post(
        content=b"to=ada", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (form.status_code, form.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_wrong_method_and_an_unknown_route_are_json(sender: Sender) -> None:
    headers = {"Authorization": f"Bearer {sender.key}"}
    method = await sender.api.client.delete(PATH, headers=headers)
    assert (method.status_code, method.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert "POST" in method.headers["Allow"]
    route = await sender.api.client.post("/api/v1/mesages", json={}, headers=headers)
    assert (route.status_code, route.json()["code"]) == (404, "NOT_FOUND")
    assert "/api/v1/mesages" in route.json()["error"]


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "MISSING_API_KEY"),
        ("Bearer ", "MISSING_API_KEY"),
        ("Bearer sk_live_00000000000000000000000000000000", "INVALID_API_KEY"),
        ("Bearer nonsense", "INVALID_API_KEY"),
        ("Basic abc", "MISSING_API_KEY"),
    ],
)
async def test_without_a_valid_key_nothing_is_sent(
    sender: Sender, authorization: str | None, code: str
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    response = await sender.api.client.post(PATH, json=sender.body(), headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, code)
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_a_revoked_key_stops_at_once(sender: Sender) -> None:
    path = f"/api/v1/projects/{sender.account.project_id}/keys"
    assert (await sender.post(sender.body())).status_code == 202
    (key,) = (await sender.api.get(sender.account, path)).json()["keys"]
    deleted = await sender.api.client.delete(f"{path}/{key['id']}", headers=sender.account.headers)
    assert deleted.status_code == 204
    assert (await sender.post(sender.body())).status_code == 401


async def test_fifty_identical_requests_with_one_key_make_one_message(sender: Sender) -> None:
    headers = {"Idempotency-Key": "4d7e1c9a-order-17"}
    answers = await asyncio.gather(
        *(sender.post(sender.body(), headers=headers) for _ in range(50))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["messageId"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 49
    assert await sender.total() == 1


async def test_a_used_key_with_another_body_is_422_and_quotes_do_not_matter(sender: Sender) -> None:
    first = await sender.post(sender.body(), headers={"Idempotency-Key": "k"})
    quoted = await sender.post(sender.body(), headers={"Idempotency-Key": '"k"'})
    reordered = await sender.post(
        dict(reversed(sender.body().items())), headers={"Idempotency-Key": "k"}
    )
    other = await sender.post(sender.body(message="other"), headers={"Idempotency-Key": "k"})
    assert quoted.json() == reordered.json() == first.json()
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")
    long = await sender.post(sender.body(), headers={"Idempotency-Key": "k" * 256})
    assert long.status_code == 400


async def test_a_try_in_test_mode_does_not_answer_for_a_live_message(sender: Sender) -> None:
    keys = [await sender.api.key(sender.account, mode=mode) for mode in ("test", "live")]
    body = {"to": "ada", "connector": "sandbox", "message": "Shipped"}
    for path, sent in (
        ("/messages", body),
        ("/messages/text", body),
        ("/messages/batch", {"messages": [body]}),
    ):
        answers = [
            await sender.api.client.post(
                f"/api/v1{path}",
                json=sent,
                headers={"Authorization": f"Bearer {key['key']}", "Idempotency-Key": "order-17"},
            )
            for key in keys
        ]
        assert all(answer.is_success for answer in answers), path
        assert answers[0].json() != answers[1].json(), path


async def test_a_refused_request_does_not_use_up_its_key(sender: Sender) -> None:
    headers = {"Idempotency-Key": "retry-me"}
    refused = await sender.post(
        sender.body(to="nobody", connectorId=sender.connectors["smtp"]), headers=headers
    )
    assert refused.status_code == 400
    assert (await sender.post(sender.body(), headers=headers)).status_code == 202


async def test_a_keys_limit_is_shown_and_kept(sender: Sender) -> None:
    path = f"/api/v1/projects/{sender.account.project_id}/keys"
    sender.key = (
        await sender.api.post(sender.account, path, {"name": "small", "rateLimit": 2})
    ).json()["key"]
    answers = [await sender.post(sender.body()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert "q=2" in answers[0].headers["RateLimit-Policy"]
    assert answers[2].json()["code"] == "RATE_LIMIT_EXCEEDED"
    assert int(answers[2].headers["Retry-After"]) > 0


async def test_problem_json_on_request(sender: Sender) -> None:
    response = await sender.post(sender.body(to=""), headers={"Accept": "application/problem+json"})
    assert response.headers["Content-Type"].startswith("application/problem+json")
    assert response.json()["code"] == "VALIDATION_ERROR"
    assert response.json()["status"] == 400


@pytest.mark.parametrize("character", ["\r\n", "\n", "\x0b", "\x85", "\u2028", "\x1b"])
async def test_a_subject_with_a_control_character_is_refused_before_it_is_accepted(
    sender: Sender, character: str
) -> None:
    body = {
        "to": "ada@example.com",
        "connectorId": sender.connectors["smtp"],
        "message": "hi",
        "subject": f"a{character}Bcc: b",
    }
    answer = await sender.post(body)
    assert answer.status_code == 400, answer.text
    assert [error["field"] for error in answer.json()["details"]["errors"]] == ["subject"]
