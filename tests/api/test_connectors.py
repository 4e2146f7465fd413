"""Connectors over HTTP: reference 002's examples work, and credentials never come back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backend import ids
from backend.ids import new_id
from backend.services.connectors.credentials import unseal, visible_credentials
from tests.api.accounts import Account, Api
from tests.api.connectors import (
    TELEGRAM,
    TWILIO,
    WHATSAPP,
    break_connector,
    created,
    path_of,
    stored,
)


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
    fixed = (await api.put(ada, path, {"credentials": {"botToken": "123456:NEW-TOKEN"}})).json()
    assert (fixed["brokenAt"], fixed["brokenReason"]) == (None, None)


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


async def test_lists_are_paged_newest_first(api: Api) -> None:
    account = await api.register()
    new = [(await created(api, account, TELEGRAM))["id"] for _ in range(3)]
    page = (await api.get(account, path_of(account), limit=2)).json()
    assert [connector["id"] for connector in page["connectors"]] == [new[2], new[1]]
    assert page["pagination"]["total"] == 4  # and the Sandbox that registering made
    rest = (
        await api.get(account, path_of(account), cursor=page["pagination"]["nextCursor"])
    ).json()
    assert rest["connectors"][0]["id"] == new[0]
    assert (await api.get(account, path_of(account), limit=101)).status_code == 400


async def test_other_tenants_and_malformed_ids_are_404(api: Api, ada: Account) -> None:
    answer = await created(api, ada, TELEGRAM)
    stranger = await api.register()
    for path, code in (
        # A project that the stranger isn't a member of, then its connector through their own.
        (path_of(ada, answer["id"]), "PROJECT_NOT_FOUND"),
        (path_of(stranger, answer["id"]), "CONNECTOR_NOT_FOUND"),
        (path_of(stranger, "conn_nonsense"), "CONNECTOR_NOT_FOUND"),
        (path_of(stranger, ids.encode(ids.CONNECTOR, new_id())), "CONNECTOR_NOT_FOUND"),
        (path_of(stranger, ids.encode(ids.TEMPLATE, new_id())), "CONNECTOR_NOT_FOUND"),
    ):
        response = await api.get(stranger, path)
        assert (response.status_code, response.json()["code"]) == (404, code), path
    assert (await api.client.get(path_of(ada))).status_code == 401


async def test_connector_types_drive_the_forms(api: Api, ada: Account) -> None:
    response = await api.get(ada, "/api/v1/connector-types")
    assert response.status_code == 200
    types = {
        connector_type["type"]: connector_type
        for connector_type in response.json()["connectorTypes"]
    }
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
        result = (await api.get(account, path_of(account), **params)).json()["connectors"]
        return [connector["name"] for connector in result]

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
