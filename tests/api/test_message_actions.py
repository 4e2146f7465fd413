"""What can be done beside sending one: batch, preview, cancel, resend; and the other names of a
send.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import text

from backend import ids
from backend.ids import new_id
from backend.ledger.claims import Claims
from tests.api.conftest import Account, Api
from tests.api.test_send import PATH, Sender, fields_of, sender

__all__ = ["sender"]

SOON = (datetime.now(UTC) + timedelta(days=1)).isoformat()
LATER = (datetime.now(UTC) + timedelta(days=2)).isoformat()


async def call(sender: Sender, path: str, body: Any = None, **headers: str) -> httpx.Response:
    all_headers = {
        "Authorization": f"Bearer {sender.key}",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return await sender.api.client.post(f"/api/v1{path}", json=body, headers=all_headers)


async def shown(sender: Sender, message_id: str) -> dict[str, Any]:
    response = await sender.api.get(sender.account, f"{PATH}/{message_id}")
    assert response.status_code == 200, response.text
    message: dict[str, Any] = response.json()
    return message


async def set_status(sender: Sender, message_id: str, status: str) -> None:
    """As a worker leaves a message that has come to its end."""
    row_id = ids.decode(ids.MESSAGE, message_id)
    async with sender.api.platform.database.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("DELETE FROM send_queue WHERE message_id = :id"), {"id": row_id}
        )
        await connection.execute(
            text("UPDATE messages SET status = :s WHERE id = :id"), {"id": row_id, "s": status}
        )


# --- Other names


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


# --- Batch


async def test_a_batch_answers_for_each_in_order(sender: Sender) -> None:
    response = await call(
        sender,
        "/messages/batch",
        {
            "messages": [
                sender.body(to="first"),
                sender.body(to="nobody", connectorId=sender.connectors["smtp"]),
                {"message": "to nobody"},
                sender.body(to="last", sendAt=SOON, expiresAt=LATER),
            ]
        },
    )
    assert response.status_code == 202, response.text
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    first, bad_address, no_recipient, last = answer["results"]
    assert [result["index"] for result in answer["results"]] == [0, 1, 2, 3]
    assert (first["status"], last["status"]) == ("queued", "scheduled")
    assert bad_address["code"] == "INVALID_TO"
    assert (no_recipient["code"], no_recipient["details"]["errors"][0]["field"]) == (
        "MISSING_REQUIRED_FIELD",
        "to",
    )
    assert (await shown(sender, first["messageId"]))["to"] == "first"


async def test_five_hundred_are_accepted_and_one_more_is_too_many(sender: Sender) -> None:
    items = [sender.body(to=f"user-{n}") for n in range(501)]
    too_many = await call(sender, "/messages/batch", {"messages": items})
    assert (too_many.status_code, fields_of(too_many)) == (400, {("messages", "VALIDATION_ERROR")})
    response = await call(sender, "/messages/batch", {"messages": items[:500]})
    results = response.json()["results"]
    assert len({result["messageId"] for result in results}) == 500
    assert await sender.total() == 500
    empty = await call(sender, "/messages/batch", {"messages": []})
    assert empty.status_code == 400


async def test_a_number_too_large_in_one_message_of_a_batch_is_that_ones_error(
    sender: Sender,
) -> None:
    items = [
        sender.body(),
        sender.body(metadata={"order": {"n": [1 << 64]}}),
        sender.body(variables={"n": "@"}),
    ]
    for literal in ("1e400", "NaN", "-" + "9" * 5000):
        content = json.dumps({"messages": items}).replace('"@"', literal).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {sender.key}"}
        headers["Idempotency-Key"] = literal[:20]
        url = f"{PATH}/batch"
        answers = [
            await sender.api.client.post(url, content=content, headers=headers) for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [202, 202], answers[0].text
        body = answers[0].json()
        assert (body["accepted"], body["rejected"]) == (1, 2)
        told = [
            one.get("details", {}).get("errors", [{}])[0].get("field") for one in body["results"]
        ]
        assert told == [None, "metadata.order.n[0]", "variables.n"]
        # Repeating it doubles nothing.
        assert answers[1].json()["results"] == body["results"]
    assert await sender.total() == 3


async def test_a_repeated_batch_is_answered_as_before_and_another_under_its_key_refused(
    sender: Sender,
) -> None:
    batch = {"messages": [sender.body(to="one"), {"to": ""}, sender.body(to="two")]}
    first = await call(sender, "/messages/batch", batch, Idempotency_Key="b" * 255)
    again = await call(sender, "/messages/batch", batch, Idempotency_Key="b" * 255)
    assert again.json() == first.json()
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (
        False,
        "true",
    )
    longer = {"messages": [{"to": ""}, {"to": ""}, {"to": ""}, sender.body(to="three")]}
    other = await call(sender, "/messages/batch", longer, Idempotency_Key="b" * 255)
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")
    assert await sender.total() == 2


async def test_a_batch_counts_each_of_its_messages(sender: Sender) -> None:
    sender.key = (await sender.api.key(sender.account, rateLimit=3))["key"]
    batch = {"messages": [sender.body() for _ in range(5)]}
    response = await call(sender, "/messages/batch", batch)
    assert [result.get("code", "") for result in response.json()["results"]] == ["", "", ""] + [
        "RATE_LIMIT_EXCEEDED"
    ] * 2
    assert '"key";r=0' in response.headers["RateLimit"]
    full = await call(sender, "/messages/batch", batch)
    assert (full.status_code, full.json()["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(full.headers["Retry-After"]) > 0


async def test_a_batch_of_nothing_but_mistakes_is_no_202(sender: Sender) -> None:
    response = await call(sender, "/messages/batch", {"messages": [{}, {"to": "ada"}]})
    assert (response.status_code, response.json()["accepted"]) == (200, 0)


# --- Preview


async def test_a_preview_shows_what_a_send_would_send(sender: Sender) -> None:
    body = {
        "to": "14155550123",
        "connectorId": sender.connectors["twilio"],
        "templateId": sender.template_id,
        "variables": {"name": "John", "code": "12345"},
    }
    response = await call(sender, "/messages/preview", body)
    assert response.status_code == 200, response.text
    preview = response.json()
    assert (preview["to"], preview["text"]) == ("+14155550123", "Hi John, your code is 12345")
    assert preview["sms"] == {"encoding": "GSM-7", "units": 27, "segments": 1}
    missing = await call(sender, "/messages/preview", {**body, "variables": {"name": "John"}})
    assert fields_of(missing) == {("variables.code", "MISSING_REQUIRED_FIELD")}
    assert await sender.total() == 0
    as_member = await sender.api.post(
        sender.account, f"{PATH}/preview", {**body, "projectId": sender.account.project_id}
    )
    assert as_member.json() == preview
    unnamed = await sender.api.post(sender.account, f"{PATH}/preview", body)
    assert (unnamed.status_code, unnamed.json()["code"]) == (400, "MISSING_REQUIRED_FIELD")


# --- Cancel


async def test_a_waiting_message_is_canceled_once(sender: Sender) -> None:
    message_id = (await sender.post(sender.body(sendAt=SOON))).json()["messageId"]
    response = await call(sender, f"/messages/{message_id}/cancel")
    assert (response.status_code, response.json()) == (
        200,
        {"messageId": message_id, "status": "canceled"},
    )
    message = await shown(sender, message_id)
    assert message["status"] == "canceled"
    assert [entry["status"] for entry in message["timeline"]] == ["scheduled", "canceled"]
    again = await call(sender, f"/messages/{message_id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "MESSAGE_NOT_CANCELABLE")
    assert again.json()["details"]["status"] == "canceled"


async def test_a_claimed_message_goes_on_and_says_so(sender: Sender) -> None:
    message_id = (await sender.post(sender.body())).json()["messageId"]
    connector_id = ids.decode(ids.CONNECTOR, sender.connectors["sandbox"])
    assert connector_id is not None
    claims = await Claims(sender.api.platform.database.raw, lease_s=5).take([(1, connector_id)], 10)
    assert [ids.encode(ids.MESSAGE, claim.message_id) for claim in claims] == [message_id]
    response = await call(sender, f"/messages/{message_id}/cancel")
    assert (response.status_code, response.json()["details"]["status"]) == (409, "sending")


async def test_a_message_is_claimed_or_canceled_never_both(sender: Sender) -> None:
    """Two real connections race for each message; whoever is second finds nothing."""
    answer = await call(sender, "/messages/batch", {"messages": [sender.body() for _ in range(40)]})
    message_ids = [result["messageId"] for result in answer.json()["results"]]
    connector_id = ids.decode(ids.CONNECTOR, sender.connectors["sandbox"])
    assert connector_id is not None
    claims = Claims(sender.api.platform.database.raw, lease_s=30)
    claimed: set[str] = set()

    async def claim() -> None:
        for _ in range(20):
            taken = await claims.take([(1, connector_id)], 2)
            claimed.update(ids.encode(ids.MESSAGE, one.message_id) for one in taken)

    cancels = asyncio.gather(
        *(call(sender, f"/messages/{message_id}/cancel") for message_id in reversed(message_ids))
    )
    answers, _ = await asyncio.gather(cancels, claim())
    canceled = {answer.json()["messageId"] for answer in answers if answer.status_code == 200}
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert canceled
    assert claimed
    assert canceled & claimed == set()
    assert canceled | claimed == set(message_ids)
    statuses = {
        message_id: (await shown(sender, message_id))["status"] for message_id in message_ids
    }
    assert {
        message_id for message_id, status in statuses.items() if status == "canceled"
    } == canceled


# --- Resend


async def test_what_has_ended_can_be_sent_once_more(sender: Sender) -> None:
    body = {
        "to": "ada",
        "templateId": sender.template_id,
        "variables": {"name": "John", "code": "1"},
        "metadata": {"order": 7},
        "priority": "high",
    }
    for status in ("failed", "delivered", "uncertain", "canceled", "expired"):
        message_id = (await sender.post(body)).json()["messageId"]
        await set_status(sender, message_id, status)
        response = await call(sender, f"/messages/{message_id}/resend")
        assert response.status_code == 202, response.text
        assert (response.json()["status"], response.json()["resentFrom"]) == ("queued", message_id)
        old, new = (
            await shown(sender, message_id),
            await shown(sender, response.json()["messageId"]),
        )
        assert (old["status"], old["resentFrom"]) == (status, None)
        same = ("to", "text", "connectorId", "templateId", "metadata", "priority", "mode")
        assert {name: new[name] for name in same} == {name: old[name] for name in same}
        assert new["resentFrom"] == message_id


async def test_what_is_still_going_is_not_sent_twice(sender: Sender) -> None:
    message_id = (await sender.post(sender.body())).json()["messageId"]
    response = await call(sender, f"/messages/{message_id}/resend")
    assert (response.status_code, response.json()["code"]) == (409, "MESSAGE_NOT_RESENDABLE")
    assert response.json()["details"]["status"] == "queued"


async def test_a_repeated_resend_is_one_and_counts_as_one(sender: Sender) -> None:
    message_id = (await sender.post(sender.body())).json()["messageId"]
    await set_status(sender, message_id, "failed")
    sender.key = (await sender.api.key(sender.account, rateLimit=5))["key"]
    answers = [
        await call(sender, f"/messages/{message_id}/resend", Idempotency_Key="r") for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert '"key";r=4' in answers[0].headers["RateLimit"]
    assert await sender.total() == 2


# --- Who may


async def test_only_developers_and_secret_keys_with_the_scope_touch_messages(
    sender: Sender,
) -> None:
    api = sender.api
    message_id = (await sender.post(sender.body())).json()["messageId"]
    reader = (await api.key(sender.account, scopes=["messages:read"]))["key"]
    page = (
        await api.key(sender.account, kind="publishable", allowedOrigins=["https://shop.example"])
    )["key"]
    test = (await api.key(sender.account, mode="test"))["key"]
    foreign = (await api.key(await api.register()))["key"]
    stranger: Account = await api.register()
    for action in ("cancel", "resend"):
        path = f"{PATH}/{message_id}/{action}"
        for key, headers, status, code in (
            (reader, {}, 403, "KEY_SCOPE"),
            (page, {"Origin": "https://shop.example"}, 403, "KEY_SCOPE"),
            (test, {}, 404, "MESSAGE_NOT_FOUND"),
            (foreign, {}, 404, "MESSAGE_NOT_FOUND"),
        ):
            refused = await api.client.post(
                path, headers={"Authorization": f"Bearer {key}", **headers}
            )
            assert (refused.status_code, refused.json()["code"]) == (status, code)
        refused = await api.post(stranger, path)
        assert (refused.status_code, refused.json()["code"]) == (404, "MESSAGE_NOT_FOUND")
        assert (await api.client.post(path)).status_code == 401
        missing = await api.post(sender.account, f"{PATH}/msg_nonsense/{action}")
        assert missing.status_code == 404
    assert (await shown(sender, message_id))["status"] == "queued"
    assert (await api.post(sender.account, f"{PATH}/{message_id}/cancel")).status_code == 200
    assert (await api.post(sender.account, f"{PATH}/{message_id}/resend")).status_code == 202


async def test_a_viewer_may_not(api: Api, sender: Sender) -> None:
    viewer = await api.register()
    user_id, project_id = (
        ids.decode(ids.USER, viewer.user_id),
        ids.decode(ids.PROJECT, sender.account.project_id),
    )
    async with api.platform.database.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "INSERT INTO project_members (project_id, user_id, role, created_at, updated_at)"
                " VALUES (:project, :user, 'viewer', now(), now())"
            ),
            {"project": project_id, "user": user_id},
        )
    message_id = (await sender.post(sender.body())).json()["messageId"]
    for action in ("cancel", "resend"):
        refused = await api.post(viewer, f"{PATH}/{message_id}/{action}")
        assert (refused.status_code, refused.json()["code"]) == (403, "ACCESS_DENIED")
