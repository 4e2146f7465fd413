"""Saved routes over HTTP, and sends that go through channels, routes and pools."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import pytest_asyncio

from backend.ids import CONNECTOR, ROUTE, encode, new_id
from tests.api.accounts import Account, Api
from tests.api.sender import CREDENTIALS, Sender, fields_of, make_sender

CHAIN = [{"channel": "sms"}, {"channel": "email"}]
TO = {"phone": "+14155550123", "email": "ada@example.com"}


@pytest_asyncio.fixture(scope="module")
async def sender(api: Api) -> Sender:
    """Connectors and messages are added by the tests, so each counts its own only."""
    sender = await make_sender(api)
    await save_route(api, sender.account, name="taken")
    return sender


def path_of(account: Account, route_id: str = "") -> str:
    return f"/api/v1/projects/{account.project_id}/routes" + (f"/{route_id}" if route_id else "")


async def save_route(api: Api, account: Account, **fields: Any) -> dict[str, Any]:
    response = await api.post(
        account, path_of(account), {"name": "urgent", "steps": CHAIN, **fields}
    )
    assert response.status_code == 201, response.text
    route: dict[str, Any] = response.json()
    return route


async def detail_of(sender: Sender, response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    detail = await sender.api.get(
        sender.account, f"/api/v1/messages/{response.json()['messageId']}"
    )
    return dict(detail.json())


async def test_a_route_is_made_changed_listed_and_deleted(api: Api) -> None:
    account = await api.register()
    connectors = f"/api/v1/projects/{account.project_id}/connectors"
    sandbox = (await api.get(account, connectors)).json()["connectors"][0]["id"]
    route = await save_route(
        api, account, steps=[{"channel": "sms"}, {"connectorId": sandbox}], fallbackAfterS=60
    )
    assert route["id"].startswith("rte_")
    assert route["steps"] == [
        {"channel": "sms", "connectorId": None},
        {"channel": None, "connectorId": sandbox},
    ]
    other = await save_route(api, account, name="calm")
    listed = (await api.get(account, path_of(account))).json()
    assert [item["id"] for item in listed["routes"]] == [other["id"], route["id"]]
    assert listed["pagination"]["total"] == 2
    changed = await api.put(
        account, path_of(account, route["id"]), {"fallbackAfterS": None, "name": "now"}
    )
    assert changed.status_code == 200
    assert changed.json() == {
        **route,
        "name": "now",
        "fallbackAfterS": None,
        "updatedAt": changed.json()["updatedAt"],
    }
    assert (await api.delete(account, path_of(account, route["id"]))).status_code == 204
    gone = await api.get(account, path_of(account, route["id"]))
    assert (gone.status_code, gone.json()["code"]) == (404, "ROUTE_NOT_FOUND")
    assert (await save_route(api, account, name="now"))["id"] != route["id"]


async def test_a_change_from_an_older_reading_is_refused(api: Api) -> None:
    account = await api.register()
    path = path_of(account, (await save_route(api, account))["id"])
    tag = (await api.get(account, path)).headers["ETag"]
    headers = {**account.headers, "If-Match": tag}
    first = await api.client.put(path, json={"name": "a"}, headers=headers)
    second = await api.client.put(path, json={"name": "b"}, headers=headers)
    assert (first.status_code, second.status_code) == (200, 412)
    assert first.headers["ETag"] == second.headers["ETag"]


@pytest.mark.parametrize(
    ("changes", "status", "field", "code"),
    [
        ({"steps": []}, 400, "steps", "VALIDATION_ERROR"),
        ({"steps": [{"channel": "pigeon"}]}, 400, "steps[0].channel", "INVALID_CONNECTOR_TYPE"),
        ({"steps": [{"channel": "sms"}, {}]}, 400, "steps[1]", "VALIDATION_ERROR"),
        ({"steps": [{"channel": "sms"}, {"channel": "sms"}]}, 400, "steps[1]", "VALIDATION_ERROR"),
        (
            {"steps": [{"connectorId": encode(CONNECTOR, new_id())}]},
            404,
            "steps[0].connectorId",
            "CONNECTOR_NOT_FOUND",
        ),
        (
            {"steps": [{"connectorId": "conn_x"}]},
            404,
            "steps[0].connectorId",
            "CONNECTOR_NOT_FOUND",
        ),
        ({"fallbackAfterS": 0}, 400, "fallbackAfterS", "VALIDATION_ERROR"),
        ({"name": encode(ROUTE, new_id())}, 400, "name", "VALIDATION_ERROR"),
        ({"name": "taken"}, 409, "name", "ROUTE_NAME_TAKEN"),
    ],
)
async def test_a_route_that_leads_nowhere_is_refused(
    sender: Sender, changes: dict[str, Any], status: int, field: str, code: str
) -> None:
    api, account = sender.api, sender.account
    refused = await api.post(account, path_of(account), {"name": "x", "steps": CHAIN, **changes})
    assert (refused.status_code, fields_of(refused)) == (status, {(field, code)}), refused.text
    untouched = await save_route(api, account, name=str(new_id()))
    refused = await api.put(account, path_of(account, untouched["id"]), changes)
    assert (refused.status_code, fields_of(refused)) == (status, {(field, code)}), refused.text


async def test_another_projects_connector_is_no_step(api: Api) -> None:
    account, stranger = await api.register(), await api.register()
    theirs = (await api.get(stranger, f"/api/v1/projects/{stranger.project_id}/connectors")).json()[
        "connectors"
    ][0]
    refused = await api.post(
        account, path_of(account), {"name": "x", "steps": [{"connectorId": theirs["id"]}]}
    )
    assert refused.status_code == 404


async def test_a_chain_is_accepted_and_shows_its_ways(sender: Sender) -> None:
    sent = await sender.post(
        {"to": TO, "channels": ["sms", "email"], "message": "hi", "fallbackAfter": "5m"}
    )
    detail = await detail_of(sender, sent)
    assert (detail["to"], detail["connectorType"]) == (TO["phone"], "twilio")
    assert detail["route"] == {
        "steps": [
            {
                "connectorId": sender.connectors["twilio"],
                "connectorType": "twilio",
                "to": TO["phone"],
                "on": "failure",
                "state": "current",
            },
            {
                "connectorId": sender.connectors["smtp"],
                "connectorType": "smtp",
                "to": TO["email"],
                "on": "failure",
                "state": "waiting",
            },
        ],
        "fallbackAfterS": 300,
    }
    assert (await detail_of(sender, await sender.post(sender.body())))["route"] is None


async def test_every_way_of_sending_takes_channels_and_routes(sender: Sender) -> None:
    route = await save_route(sender.api, sender.account, fallbackAfterS=9)
    headers = {"Authorization": f"Bearer {sender.key}"}
    expected = {"message": "hi", "route": "urgent"}
    by_alias = await sender.api.client.post(
        "/api/v1/send", json={**expected, "recipient": TO}, headers=headers
    )
    assert (await detail_of(sender, by_alias))["route"]["fallbackAfterS"] == 9
    items = [{**expected, "to": TO, "route": route["id"]}, {**expected, "to": TO, "route": "none"}]
    batch = await sender.api.client.post(
        "/api/v1/messages/batch", json={"messages": items}, headers=headers
    )
    assert [result.get("code") for result in batch.json()["results"]] == [None, "ROUTE_NOT_FOUND"]
    preview = await sender.api.client.post(
        "/api/v1/messages/preview", json={**expected, "to": TO}, headers=headers
    )
    shown = preview.json()
    assert (shown["channel"], shown["to"]) == ("sms", TO["phone"])
    assert [(fallback["channel"], fallback["to"]) for fallback in shown["fallbacks"]] == [
        ("email", TO["email"])
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"channels": ["sms"], "connector": "smtp"}, "channels"),
        ({"channels": ["sms"], "connectorId": encode(CONNECTOR, new_id())}, "channels"),
        ({"channels": ["sms"], "route": "urgent"}, "channels"),
        ({"route": "urgent", "connector": "smtp"}, "route"),
        ({"channels": []}, "channels"),
        ({"channels": ["sms", "twilio"]}, "channels"),
        ({"channels": ["sms", 1]}, "channels[1]"),
        ({"connector": "smtp", "fallbackAfter": 5}, "fallbackAfter"),
        ({"channels": ["sms"], "fallbackAfter": "soon"}, "fallbackAfter"),
        ({"channels": ["sms"], "fallbackAfter": 0}, "fallbackAfter"),
        ({"channels": ["sms"], "fallbackAfter": "8d"}, "fallbackAfter"),
        ({"channels": ["sms"], "fallbackAfter": True}, "fallbackAfter"),
        ({"channels": ["sms"], "to": {"pigeon": "x"}}, "to"),
        ({"channels": ["sms"], "to": {}}, "to"),
        ({"channels": ["sms"], "to": {"phone": 1}}, "to"),
        ({"channels": ["sms"], "to": 1}, "to"),
        ({"channels": ["sms"], "to": ""}, "to"),
        ({"channels": ["sms", "email"], "to": {"phone": TO["phone"]}}, "to.email"),
    ],
)
async def test_a_send_whose_ways_make_no_sense_is_refused(
    sender: Sender, body: dict[str, Any], field: str
) -> None:
    refused = await sender.post({"to": TO, "message": "hi", **body})
    assert refused.status_code == 400, refused.text
    assert {name for name, _ in fields_of(refused)} == {field}, refused.text


async def test_a_weight_puts_a_connector_into_its_types_pool(api: Api) -> None:
    sender = await make_sender(api)
    path = f"/api/v1/projects/{sender.account.project_id}/connectors"
    second = await sender.api.post(
        sender.account,
        path,
        {"type": "twilio", "name": "b", "credentials": CREDENTIALS["twilio"], "weight": 0},
    )
    assert (second.status_code, second.json()["weight"]) == (201, 0)
    first = f"{path}/{sender.connectors['twilio']}"
    assert (await sender.api.put(sender.account, first, {"weight": 10})).json()["weight"] == 10
    detail = await detail_of(
        sender, await sender.post({"to": TO, "connector": "twilio", "message": "hi"})
    )
    assert [(step["connectorId"], step["on"]) for step in detail["route"]["steps"]] == [
        (sender.connectors["twilio"], "failure"),
        (second.json()["id"], "unavailable"),
    ]
    assert (await sender.api.put(sender.account, first, {"weight": None})).json()["weight"] is None
    detail = await detail_of(
        sender, await sender.post({"to": TO, "connector": "twilio", "message": "hi"})
    )
    assert (detail["connectorId"], detail["route"]) == (second.json()["id"], None)
    for weight in (-1, 1001, 1.5, "1"):
        assert (await sender.api.put(sender.account, first, {"weight": weight})).status_code == 400
