"""Reference 002 (and 000, 003) on messages: every request as it stands there, its answer's shape,
its error codes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from backend import ids
from backend.ids import new_id
from tests.api.accounts import Api
from tests.api.messages import save
from tests.api.sender import Sender

TEXT = str
WHATSAPP = {"phoneNumberId": "123456789", "accessToken": "EAAG" + "x" * 40}


@pytest.fixture
async def shop(sender: Sender) -> Sender:
    """With the WhatsApp connector and the template of the reference's examples."""
    project = f"/api/v1/projects/{sender.account.project_id}"
    body = {"type": "whatsapp", "name": "Business WhatsApp", "credentials": WHATSAPP}
    created = await sender.api.post(sender.account, f"{project}/connectors", body)
    assert created.status_code == 201, created.text
    sender.connectors["whatsapp"] = created.json()["id"]
    template = {
        "name": "Welcome Message",
        "connectorType": "whatsapp",
        "content": "Hello {{name}}, your code is: {{code}}",
        "variables": ["name", "code"],
    }
    sender.template_id = (
        await sender.api.post(sender.account, f"{project}/templates", template)
    ).json()["id"]
    return sender


def filled_in(shop: Sender, body: dict[str, Any]) -> dict[str, Any]:
    """The reference's ids are made up; ours take their place."""
    ours = {
        "connectorId": shop.connectors["whatsapp"],
        "serviceId": shop.connectors["whatsapp"],
        "templateId": shop.template_id,
        "projectId": shop.account.project_id,
    }
    return {name: ours.get(name, value) for name, value in body.items()}


SENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "002 Send Message": (
        "/messages",
        {
            "to": "+1234567890",
            "connectorId": "conn_whatsapp_abc123",
            "templateId": "tpl_welcome_xyz456",
            "variables": {"name": "John", "code": "12345"},
        },
    ),
    "000 Send Message": (
        "/messages",
        {"to": "+1234567890", "message": "Hello, world!", "connector": "whatsapp"},
    ),
    "000 SDK": (
        "/messages",
        {
            "to": "+1234567890",
            "message": "Hello from MessageJS!",
            "connector": "whatsapp",
            "projectId": "proj_xyz789",
        },
    ),
    "000 templateVars": (
        "/messages",
        {
            "to": "+1234567890",
            "connector": "whatsapp",
            "templateId": "tpl_1",
            "templateVars": {"name": "John", "code": "1"},
        },
    ),
    "000 send()": (
        "/send",
        {
            "serviceId": "service_1",
            "templateId": "template_1",
            "templateParams": {"name": "John", "code": "1"},
            "recipient": "+1234567890",
        },
    ),
    "003 Text Messages": (
        "/messages/text",
        {"to": "6281234567890", "message": "Hello from WhatsApp API!"},
    ),
}


async def test_the_sends_of_the_reference_are_accepted(shop: Sender) -> None:
    headers = {"Authorization": f"Bearer {shop.key}"}
    for name, (path, body) in SENDS.items():
        headers["Idempotency-Key"] = name
        first, again = [
            await shop.api.client.post(
                f"/api/v1{path}", json=filled_in(shop, body), headers=headers
            )
            for _ in range(2)
        ]
        assert first.status_code == 202, (name, first.text)
        assert set(first.json()) == {"messageId", "status"}
        assert first.json()["messageId"].startswith("msg_")
        assert first.json()["status"] == "queued"
        assert again.json() == first.json()
    assert await shop.total() == len(SENDS)


def bad(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {"to": "+1234567890", "connectorId": "conn_", "message": "Hello"}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


# What the reference lists under "Error Codes" that a send can come to.
ERRORS: list[tuple[str, dict[str, Any], int]] = [
    ("INVALID_PHONE", bad(to="not a phone"), 400),
    ("MISSING_REQUIRED_FIELD", bad(to=...), 400),
    ("MISSING_REQUIRED_FIELD", bad(message=...), 400),
    ("MISSING_REQUIRED_FIELD", bad(connectorId=...), 400),
    (
        "MISSING_REQUIRED_FIELD",
        bad(message=..., templateId="tpl_", variables={"name": "John"}),
        400,
    ),
    ("INVALID_CONNECTOR_TYPE", bad(connectorId=..., connector="pigeon"), 400),
    ("CONNECTOR_NOT_FOUND", bad(connectorId=..., connector="telegram"), 404),
    ("UNKNOWN_FIELD", bad(colour="red"), 400),
]


async def test_a_wrong_send_gets_the_references_code(shop: Sender) -> None:
    for code, body, status in ERRORS:
        response = await shop.post(filled_in(shop, body))
        assert (response.status_code, response.json()["code"]) == (status, code), response.text
        assert {"error", "code", "details", "requestId"} == set(response.json())
    right = filled_in(shop, SENDS["002 Send Message"][1])
    for field, value, code in (
        ("connectorId", ids.encode(ids.CONNECTOR, new_id()), "CONNECTOR_NOT_FOUND"),
        ("templateId", ids.encode(ids.TEMPLATE, new_id()), "TEMPLATE_NOT_FOUND"),
        ("projectId", ids.encode(ids.PROJECT, new_id()), "PROJECT_NOT_FOUND"),
    ):
        response = await shop.post({**right, field: value})
        assert (response.status_code, response.json()["code"]) == (404, code)
    assert await shop.total() == 0


MESSAGE: dict[str, Any] = {
    "id": TEXT,
    "to": TEXT,
    "text": TEXT,
    "status": TEXT,
    "connectorType": TEXT,
    "sentAt": TEXT,
    "createdAt": TEXT,
}
DETAIL: dict[str, Any] = {
    **{name: kind for name, kind in MESSAGE.items() if name != "connectorType"},
    "projectId": TEXT,
    "connectorId": TEXT,
    "metadata": dict,
    "deliveredAt": TEXT,
}


async def test_lists_take_the_references_parameters(api: Api) -> None:
    account = await api.register()
    now = datetime.now(UTC)
    saved: dict[str, str] = {}
    for status in ("pending", "sent", "delivered", "failed"):
        stored = "queued" if status == "pending" else status
        saved[status] = await save(
            api, account, status=stored, sent_at=now, provider_message_id="wamid.xxx"
        )
    async with api.platform.database.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("""
            INSERT INTO send_queue (message_id, project_id, connector_id, lane, state, tries,
                due_at)
            VALUES (:id, :project, :id, 1, 0, 0, now() + interval '1 h')
            """),
            {
                "id": ids.decode(ids.MESSAGE, saved["pending"]),
                "project": ids.decode(ids.PROJECT, account.project_id),
            },
        )
    day = f"{now:%Y-%m-%d}"
    for status, message_id in saved.items():
        params = {
            "limit": 50,
            "offset": 0,
            "status": status,
            "connector": "whatsapp",
            "from": day,
            "to": day,
        }
        response = await api.get(
            account, "/api/v1/messages", projectId=account.project_id, **params
        )
        assert response.status_code == 200, response.text
        (message,) = response.json()["messages"]
        assert message["id"] == message_id
        assert {name: type(message[name]) for name in MESSAGE} == MESSAGE
        pagination = response.json()["pagination"]
        assert {
            "limit": 50,
            "offset": 0,
            "total": 1,
            "hasMore": False,
        }.items() <= pagination.items()


async def test_a_message_has_the_references_fields(api: Api) -> None:
    account = await api.register()
    now = datetime.now(UTC)
    message_id = await save(
        api, account, sent_at=now, delivered_at=now, provider_message_id="wamid.xxx"
    )
    response = await api.get(account, f"/api/v1/messages/{message_id}")
    message = response.json()
    assert {name: type(message[name]) for name in DETAIL} == DETAIL
    assert message["metadata"] == {"messageId": "wamid.xxx"}
    unknown = await api.get(account, f"/api/v1/messages/{ids.encode(ids.MESSAGE, new_id())}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "MESSAGE_NOT_FOUND")


async def test_the_names_of_000_for_what_a_project_has(shop: Sender) -> None:
    project = f"/api/v1/projects/{shop.account.project_id}"
    body = {"type": "whatsapp", "name": "Another", "credentials": WHATSAPP}
    created = await shop.api.post(shop.account, f"{project}/services", body)
    assert created.status_code == 201, created.text
    there = await shop.api.get(shop.account, f"{project}/connectors/{created.json()['id']}")
    assert there.json()["name"] == "Another"
    message_id = (await shop.post(filled_in(shop, SENDS["002 Send Message"][1]))).json()[
        "messageId"
    ]
    logs = await shop.api.get(shop.account, f"{project}/logs", connector="whatsapp", limit=5)
    listed = await shop.api.get(
        shop.account, "/api/v1/messages", projectId=shop.account.project_id, limit=5
    )
    assert [message["id"] for message in logs.json()["messages"]] == [message_id]
    assert logs.json() == listed.json()
