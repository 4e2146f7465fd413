"""Connectors over HTTP: reference 002's examples work, and credentials never come back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend import ids
from backend.ids import new_id
from backend.models import Connector
from backend.models.base import utc_now
from backend.services.connectors.credentials import unseal, visible_credentials
from tests.api.accounts import Account, Api
from tests.providers.fakes import FakeSmtp, refused_port

WHATSAPP: dict[str, Any] = {
    "type": "whatsapp",
    "name": "Business WhatsApp",
    "credentials": {"phoneNumberId": "123456789", "accessToken": "EAAG-secret-token"},
}
TELEGRAM: dict[str, Any] = {
    "type": "telegram",
    "name": "My Bot",
    "credentials": {"botToken": "123456:ABC-DEF"},
}
TWILIO: dict[str, Any] = {
    "type": "twilio",
    "name": "SMS Provider",
    "credentials": {"accountSid": "ACxxx", "authToken": "xxx-secret", "fromNumber": "+1234567890"},
}


def path_of(account: Account, connector_id: str = "", *, project_id: str | None = None) -> str:
    base = f"/api/v1/projects/{project_id or account.project_id}/connectors"
    return f"{base}/{connector_id}" if connector_id else base


async def created(api: Api, account: Account, body: dict[str, Any]) -> dict[str, Any]:
    response = await api.post(account, path_of(account), body)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def smtp(port: int, **credentials: Any) -> dict[str, Any]:
    fields = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "fromAddress": "a@example.com",
        **credentials,
    }
    return {"type": "smtp", "name": "Mail", "credentials": fields}


@pytest.mark.parametrize("body", [WHATSAPP, TELEGRAM, TWILIO], ids=lambda body: body["type"])
async def test_the_references_examples_are_accepted_and_answered_without_credentials(
    api: Api, ada: Account, body: dict[str, Any]
) -> None:
    answer = await created(api, ada, body)
    assert answer["id"].startswith("conn_")
    assert (answer["projectId"], answer["type"], answer["name"]) == (
        ada.project_id,
        body["type"],
        body["name"],
    )
    assert answer["isActive"] is True
    assert answer["createdAt"].endswith("Z")
    for response in (
        await api.get(ada, path_of(ada, answer["id"])),
        await api.get(ada, path_of(ada)),
        await api.put(ada, path_of(ada, answer["id"]), {"name": "Renamed"}),
    ):
        assert response.status_code == 200
        assert not any(str(secret) in response.text for secret in body["credentials"].values())


async def test_credentials_are_encrypted_at_rest(api: Api, ada: Account) -> None:
    connector = await stored(api, (await created(api, ada, WHATSAPP))["id"])
    assert "secret-token" not in connector.credentials_encrypted
    assert unseal(api.platform.vault, connector)["accessToken"] == "EAAG-secret-token"
    assert visible_credentials(api.platform.vault, connector) == {"phoneNumberId": "123456789"}


async def stored(api: Api, connector_id: str) -> Connector:
    row_id = ids.decode(ids.CONNECTOR, connector_id)
    assert row_id is not None
    async with api.platform.database.session() as session:
        return (await Connector.find_many(session, {row_id}))[0]


@pytest.mark.parametrize(
    ("body", "code", "fields"),
    [
        ({"type": "pigeon", "name": "x"}, "INVALID_CONNECTOR_TYPE", ["type"]),
        ({"type": "whatsapp", "name": "x"}, "MISSING_REQUIRED_FIELD", None),
        (
            {"type": "telegram", "name": "x", "credentials": {"botToken": ""}},
            "MISSING_REQUIRED_FIELD",
            ["credentials.botToken"],
        ),
        (
            {"type": "telegram", "name": "x", "credentials": {"botToken": "nonsense"}},
            "INVALID_CONNECTOR_CREDENTIALS",
            ["credentials.botToken"],
        ),
        (
            {"type": "sandbox", "name": "x", "credentials": {"apiKey": "k"}},
            "INVALID_CONNECTOR_CREDENTIALS",
            ["credentials.apiKey"],
        ),
        (
            {"type": "twilio", "name": "x", "credentials": {"accountSid": "ACx", "authToken": "t"}},
            "INVALID_CONNECTOR_CREDENTIALS",
            ["credentials"],
        ),
        ({"type": "sandbox"}, "MISSING_REQUIRED_FIELD", ["name"]),
        ({"type": "sandbox", "name": "  "}, "VALIDATION_ERROR", ["name"]),
        ({"type": "sandbox", "name": "x", "colour": "red"}, "UNKNOWN_FIELD", ["colour"]),
        (
            {"type": "sandbox", "name": "x", "config": {"pacing": {"perSecond": -1}}},
            "VALIDATION_ERROR",
            ["config.pacing.perSecond"],
        ),
        (
            {"type": "sandbox", "name": "x", "config": {"paceing": {}}},
            "VALIDATION_ERROR",
            ["config.paceing"],
        ),
    ],
)
async def test_a_wrong_request_names_the_field_and_the_remedy(
    api: Api, ada: Account, body: dict[str, Any], code: str, fields: list[str] | None
) -> None:
    response = await api.post(ada, path_of(ada), body)
    assert response.status_code == 400, response.text
    answer = response.json()
    assert answer["code"] == code
    if fields is not None:
        assert [error["field"] for error in answer["details"]["errors"]] == fields


async def test_an_unknown_type_lists_the_known_ones(api: Api, ada: Account) -> None:
    response = await api.post(ada, path_of(ada), {"type": "pigeon", "name": "x"})
    assert "sandbox" in response.json()["error"]
    assert "whatsapp" in response.json()["error"]


async def test_wrong_credentials_are_not_repeated_in_the_answer(api: Api, ada: Account) -> None:
    body = {"type": "telegram", "name": "x", "credentials": {"botToken": "my-secret-but-wrong"}}
    assert "my-secret-but-wrong" not in (await api.post(ada, path_of(ada), body)).text


async def test_the_first_of_a_type_is_the_default_and_only_one_is(api: Api) -> None:
    account = await api.register()
    first = await created(api, account, TELEGRAM)
    second = await created(api, account, TELEGRAM)
    assert (first["isDefault"], second["isDefault"]) == (True, False)
    response = await api.put(account, path_of(account, second["id"]), {"isDefault": True})
    assert response.json()["isDefault"] is True
    assert (await api.get(account, path_of(account, first["id"]))).json()["isDefault"] is False
    refused = await api.put(account, path_of(account, second["id"]), {"isDefault": False})
    assert (refused.status_code, refused.json()["details"]["errors"][0]["field"]) == (
        400,
        "isDefault",
    )
    assert (await api.delete(account, path_of(account, second["id"]))).status_code == 204
    assert (await api.get(account, path_of(account, first["id"]))).json()["isDefault"] is True


async def test_concurrent_first_connectors_end_with_one_default(api: Api) -> None:
    account = await api.register()
    answers = await asyncio.gather(*(created(api, account, TELEGRAM) for _ in range(4)))
    assert sum(answer["isDefault"] for answer in answers) == 1


async def test_updating_replaces_only_what_was_sent(api: Api, ada: Account) -> None:
    answer = await created(api, ada, TWILIO)
    path = path_of(ada, answer["id"])
    changed = await api.put(
        ada, path, {"isActive": False, "config": {"pacing": {"perSecond": 3.5}}}
    )
    assert changed.status_code == 200
    assert (changed.json()["isActive"], changed.json()["name"]) == (False, "SMS Provider")
    assert changed.json()["config"] == {"pacing": {"perSecond": 3.5}}
    credentials = {"authToken": "", "fromNumber": None, "messagingServiceSid": "MGabc"}
    assert (await api.put(ada, path, {"credentials": credentials})).status_code == 200
    connector = await stored(api, answer["id"])
    assert unseal(api.platform.vault, connector) == {
        "accountSid": "ACxxx",  # not sent: kept
        "authToken": "xxx-secret",  # an empty secret: kept
        "messagingServiceSid": "MGabc",  # and fromNumber was cleared by its null
    }


async def test_an_update_that_leaves_credentials_incomplete_changes_nothing(
    api: Api, ada: Account
) -> None:
    answer = await created(api, ada, TWILIO)
    before = (await stored(api, answer["id"])).credentials_encrypted
    response = await api.put(
        ada, path_of(ada, answer["id"]), {"name": "New", "credentials": {"accountSid": None}}
    )
    assert (response.status_code, response.json()["code"]) == (400, "MISSING_REQUIRED_FIELD")
    after = await stored(api, answer["id"])
    assert (after.credentials_encrypted, after.name) == (before, "SMS Provider")


async def test_new_credentials_end_a_connectors_being_broken(api: Api, ada: Account) -> None:
    answer = await created(api, ada, TELEGRAM)
    await break_connector(api, answer["id"])
    path = path_of(ada, answer["id"])
    assert (await api.put(ada, path, {"name": "Still broken"})).json()[
        "brokenReason"
    ] == "401 Unauthorized"
    mended = (await api.put(ada, path, {"credentials": {"botToken": "123456:NEW-TOKEN"}})).json()
    assert (mended["brokenAt"], mended["brokenReason"]) == (None, None)


async def break_connector(api: Api, connector_id: str) -> None:
    row_id = ids.decode(ids.CONNECTOR, connector_id)
    async with api.platform.database.transaction() as session:
        connector = await session.get_one(Connector, row_id)
        connector.broken_at, connector.broken_reason = utc_now(), "401 Unauthorized"


async def test_deleting_is_for_good_for_the_api_and_keeps_the_row(api: Api, ada: Account) -> None:
    answer = await created(api, ada, TELEGRAM)
    path = path_of(ada, answer["id"])
    assert (await api.delete(ada, path)).status_code == 204
    for response in (
        await api.get(ada, path),
        await api.put(ada, path, {"name": "x"}),
        await api.delete(ada, path),
        await api.post(ada, f"{path}/test"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "CONNECTOR_NOT_FOUND")
    assert (await stored(api, answer["id"])).deleted_at is not None
    assert answer["id"] not in (await api.get(ada, path_of(ada))).text


async def test_testing_the_sandbox_succeeds_and_is_noted(api: Api, ada: Account) -> None:
    answer = await created(api, ada, {"type": "sandbox", "name": "S"})
    await break_connector(api, answer["id"])
    tested = await api.post(ada, path_of(ada, answer["id"]) + "/test")
    assert tested.status_code == 200
    assert (tested.json()["success"], tested.json()["connected"]) == (True, True)
    assert tested.json()["message"]
    after = (await api.get(ada, path_of(ada, answer["id"]))).json()
    assert after["lastTestedAt"] is not None
    assert after["brokenAt"] is None


async def test_a_mail_server_that_refuses_the_login_is_a_failed_test(
    api: Api, ada: Account
) -> None:
    async with FakeSmtp(username="u", password="right") as server:
        answer = await created(api, ada, smtp(server.port, username="u", password="secret-pass"))
        tested = (await api.post(ada, path_of(ada, answer["id"]) + "/test")).json()
    assert (tested["success"], tested["connected"]) == (False, False)
    assert "secret-pass" not in tested["message"]


async def test_a_server_that_is_away_is_a_failed_test_that_says_so(api: Api, ada: Account) -> None:
    async with FakeSmtp() as server:
        answer = await created(api, ada, smtp(server.port))
        assert (await api.post(ada, path_of(ada, answer["id"]) + "/test")).json()["success"] is True
    await break_connector(api, answer["id"])
    tested = (await api.post(ada, path_of(ada, answer["id"]) + "/test")).json()
    assert (tested["success"], tested["connected"]) == (False, False)
    assert tested["message"]
    assert (await api.get(ada, path_of(ada, answer["id"]))).json()["brokenAt"] is not None


async def test_verify_asks_the_provider_before_anything_is_stored(api: Api) -> None:
    account = await api.register()
    path = path_of(account) + "?verify=true"
    async with FakeSmtp(username="u", password="right") as server:
        refused = await api.post(account, path, smtp(server.port, username="u", password="wrong"))
    assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_CONNECTOR_CREDENTIALS")
    away = await api.post(account, path, smtp(refused_port()))
    assert (away.status_code, away.json()["code"]) == (502, "THIRD_PARTY_ERROR")
    listed = (await api.get(account, path_of(account))).json()["connectors"]
    assert [connector["type"] for connector in listed] == ["sandbox"]
    async with FakeSmtp() as server:
        assert (await api.post(account, path, smtp(server.port))).status_code == 201


async def test_a_project_that_is_switched_off_asks_no_provider(api: Api) -> None:
    account = await api.register()
    body = {"type": "sandbox", "name": "S", "credentials": {}}
    path = path_of(account, (await created(api, account, body))["id"])
    switched = await api.put(account, f"/api/v1/projects/{account.project_id}", {"isActive": False})
    assert switched.status_code == 200
    for answer in (
        await api.post(account, f"{path}/test"),
        await api.post(account, f"{path_of(account)}?verify=true", body),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "PROJECT_NOT_ACTIVE")
    assert (await api.get(account, path)).json()["lastTestedAt"] is None


async def test_unverified_credentials_are_not_sent_anywhere(api: Api, ada: Account) -> None:
    assert (await created(api, ada, smtp(refused_port())))["type"] == "smtp"


async def test_lists_are_paged_newest_first(api: Api) -> None:
    account = await api.register()
    made = [(await created(api, account, TELEGRAM))["id"] for _ in range(3)]
    page = (await api.get(account, path_of(account), limit=2)).json()
    assert [connector["id"] for connector in page["connectors"]] == [made[2], made[1]]
    assert page["pagination"]["total"] == 4  # and the Sandbox that registering made
    rest = (
        await api.get(account, path_of(account), cursor=page["pagination"]["nextCursor"])
    ).json()
    assert rest["connectors"][0]["id"] == made[0]
    assert (await api.get(account, path_of(account), limit=101)).status_code == 400


async def test_other_tenants_and_malformed_ids_are_404(api: Api, ada: Account) -> None:
    answer = await created(api, ada, TELEGRAM)
    stranger = await api.register()
    for path in (
        path_of(ada, answer["id"]),  # a project of which the stranger is no member
        path_of(stranger, answer["id"]),  # ada's connector through the stranger's project
        path_of(stranger, "conn_nonsense"),
        path_of(stranger, ids.encode(ids.CONNECTOR, new_id())),
        path_of(stranger, ids.encode(ids.TEMPLATE, new_id())),
    ):
        response = await api.get(stranger, path)
        assert response.status_code == 404, path
        assert response.json()["code"] in {"CONNECTOR_NOT_FOUND", "PROJECT_NOT_FOUND"}
    assert (await api.client.get(path_of(ada))).status_code == 401


async def test_connector_types_drive_the_forms(api: Api, ada: Account) -> None:
    response = await api.get(ada, "/api/v1/connector-types")
    assert response.status_code == 200
    types = {one["type"]: one for one in response.json()["connectorTypes"]}
    assert {"sandbox", "smtp", "telegram", "twilio", "whatsapp"} <= types.keys()
    fields = {field["name"]: field for field in types["whatsapp"]["fields"]}
    assert fields["accessToken"]["type"] == "secret"
    assert fields["phoneNumberId"]["required"] is True
    assert types["telegram"]["textLimit"] == 4096
    security = next(field for field in types["smtp"]["fields"] if field["name"] == "security")
    assert {option["value"] for option in security["options"]} == {"starttls", "tls", "none"}
    assert (await api.client.get("/api/v1/connector-types")).status_code == 401


async def test_a_connector_is_switched_off_and_on(api: Api, ada: Account) -> None:
    path = path_of(ada, (await created(api, ada, TELEGRAM))["id"])
    assert (await api.post(ada, f"{path}/deactivate")).json()["isActive"] is False
    assert (await api.get(ada, path)).json()["isActive"] is False
    assert (await api.post(ada, f"{path}/activate")).json()["isActive"] is True


async def test_the_list_is_searched_by_name_type_and_being_active(api: Api) -> None:
    account = await api.register()
    await created(api, account, {**TELEGRAM, "name": "Support bot"})
    await created(api, account, {**TELEGRAM, "name": "Sales bot", "isActive": False})

    async def names(**params: Any) -> list[str]:
        found = (await api.get(account, path_of(account), **params)).json()["connectors"]
        return [connector["name"] for connector in found]

    assert await names(q="BOT") == ["Sales bot", "Support bot"]
    assert await names(connectorType="telegram", isActive=True) == ["Support bot"]
    assert len(await names(connectorType="sandbox")) == 1
    assert await names(connectorType="sandbox", q="bot") == []


async def test_a_change_from_an_old_reading_is_refused(api: Api, ada: Account) -> None:
    path = path_of(ada, (await created(api, ada, TELEGRAM))["id"])
    headers = {**ada.headers, "If-Match": (await api.get(ada, path)).headers["ETag"]}
    assert (await api.client.put(path, json={"name": "One"}, headers=headers)).status_code == 200
    for method, body in (("PUT", {"name": "Two"}), ("DELETE", None)):
        assert (
            await api.client.request(method, path, json=body, headers=headers)
        ).status_code == 412
    assert (await api.get(ada, path)).json()["name"] == "One"


async def test_a_connectors_health_is_its_circuit(api: Api, ada: Account) -> None:
    answer = await created(api, ada, TELEGRAM)
    closed = {"state": "closed", "reason": None, "since": None, "nextProbeAt": None}
    assert answer["health"] == closed
    connector_id = (await stored(api, answer["id"])).id
    statement = (
        "UPDATE connectors SET circuit_opened_at = now(), circuit_reason = 'No answer.',"
        " circuit_probe_at = {}"
    )
    for probe_at, state in (("now() + interval '1 minute'", "open"), ("now()", "half_open")):
        async with api.platform.database.raw.connection() as connection:
            await connection.execute(f"{statement.format(probe_at)} WHERE id = %s", (connector_id,))
        health = (await api.get(ada, path_of(ada, answer["id"]))).json()["health"]
        assert (health["state"], health["reason"]) == (state, "No answer.")
        assert health["since"]


ENCODED = "=?utf-8?q?=0d=0aBcc:z?="


async def test_a_sender_name_that_looks_like_an_encoded_word_is_stored_and_tested(
    api: Api, ada: Account
) -> None:
    async with FakeSmtp() as server:
        connector = await created(api, ada, smtp(server.port, fromName=ENCODED))
        answer = await api.post(ada, path_of(ada, f"{connector['id']}/test"))
        assert (answer.status_code, answer.json()["connected"]) == (200, True)


@pytest.mark.parametrize("host", ["..", "a..example.com", "a" * 64 + ".example.com", "-" * 254])
async def test_a_host_that_cannot_be_looked_up_is_refused_when_it_is_saved(
    api: Api, ada: Account, host: str
) -> None:
    response = await api.post(ada, path_of(ada), smtp(25, host=host))
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_CONNECTOR_CREDENTIALS")
    assert response.json()["details"]["errors"][0]["field"] == "credentials.host"


async def test_a_changed_mail_server_is_not_given_the_stored_password(
    api: Api, ada: Account
) -> None:
    async with (
        FakeSmtp(username="u", password="right") as own,
        FakeSmtp(username="u", password="right") as sink,
    ):
        answer = await created(api, ada, smtp(own.port, username="u", password="right"))
        path = path_of(ada, answer["id"])
        refused = await api.put(ada, path, {"credentials": {"port": sink.port}})
        assert (refused.status_code, refused.json()["code"]) == (400, "SECRET_REQUIRED")
        assert refused.json()["details"]["errors"][0]["field"] == "credentials.password"
        assert "password again" in refused.json()["error"]
        assert (await api.post(ada, f"{path}/test")).json()["connected"] is True
        assert (own.connections, sink.connections) == (1, 0)
        moved = {"credentials": {"port": sink.port, "password": "right"}}
        assert (await api.put(ada, path, moved)).status_code == 200
        assert (await api.post(ada, f"{path}/test")).json()["connected"] is True
        assert sink.connections == 1
