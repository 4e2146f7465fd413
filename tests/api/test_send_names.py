"""The other names of a send: EmailJS's, the older SDKs', and a text by WhatsApp."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from backend import ids
from backend.ids import new_id
from tests.api.sender import Sender, call, fields_of, shown

SOON = (datetime.now(UTC) + timedelta(days=1)).isoformat()
LATER = (datetime.now(UTC) + timedelta(days=2)).isoformat()


async def test_emailjs_names_send_the_same_message(sender: Sender) -> None:
    response = await call(
        sender,
        "/send",
        {
            "serviceId": sender.connectors["sandbox"],
            "templateId": sender.template_id,
            "templateParams": {"name": "John", "code": "12345"},
            "recipient": "ada",
        },
    )
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    message = await shown(sender, response.json()["messageId"])
    assert (message["to"], message["text"]) == ("ada", "Hi John, your code is 12345")
    assert message["connectorId"] == sender.connectors["sandbox"]


async def test_send_takes_the_names_of_messages_too_but_not_both(sender: Sender) -> None:
    assert (await call(sender, "/send", sender.body())).status_code == 202
    both = await call(sender, "/send", {**sender.body(), "recipient": "ada"})
    assert (both.status_code, fields_of(both)) == (400, {("recipient", "VALIDATION_ERROR")})
    nobody = await call(
        sender, "/send", {"message": "hi", "serviceId": sender.connectors["sandbox"]}
    )
    assert fields_of(nobody) == {("recipient", "MISSING_REQUIRED_FIELD")}


async def test_the_older_sdks_fields_are_taken(sender: Sender) -> None:
    body = {"to": "ada", "connector": "sandbox", "templateId": sender.template_id}
    variables = {"name": "John", "code": "1"}
    sent = await sender.post(
        {**body, "templateVars": variables, "projectId": sender.account.project_id}
    )
    assert sent.status_code == 202, sent.text
    twice = await sender.post({**body, "templateVars": variables, "variables": variables})
    assert fields_of(twice) == {("templateVars", "VALIDATION_ERROR")}
    for foreign in (ids.encode(ids.PROJECT, new_id()), "nonsense"):
        refused = await sender.post(sender.body(projectId=foreign))
        assert (refused.status_code, refused.json()["code"]) == (404, "PROJECT_NOT_FOUND")


async def test_a_text_goes_by_whatsapp_unless_told_otherwise(sender: Sender) -> None:
    away = await call(sender, "/messages/text", {"to": "6281234567890", "message": "Hello"})
    assert (away.status_code, away.json()["code"]) == (404, "CONNECTOR_NOT_FOUND")
    assert "whatsapp" in away.json()["error"]
    named = await call(
        sender, "/messages/text", {"to": "ada", "message": "Hello", "connector": "sandbox"}
    )
    assert named.status_code == 202
    template = await call(
        sender, "/messages/text", {"to": "ada", "message": "x", "templateId": sender.template_id}
    )
    assert fields_of(template) == {("templateId", "UNKNOWN_FIELD")}
    test_key = (await sender.api.key(sender.account, mode="test"))["key"]
    sender.key = test_key
    sandboxed = await call(sender, "/messages/text", {"to": "6281234567890", "message": "Hello"})
    assert sandboxed.status_code == 202
    message = await shown(sender, sandboxed.json()["messageId"])
    assert (message["connectorType"], message["mode"]) == ("sandbox", "test")
