"""What can be done about a message: preview it, cancel it, send it again, and who may."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from backend import ids
from backend.ledger.claims import Claims
from tests.api.accounts import Account, Api
from tests.api.sender import PATH, Sender, call, fields_of, set_status, shown

SOON = (datetime.now(UTC) + timedelta(days=1)).isoformat()
LATER = (datetime.now(UTC) + timedelta(days=2)).isoformat()


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
    """Two real connections race for each message; anyone who is second finds nothing."""
    answer = await call(sender, "/messages/batch", {"messages": [sender.body() for _ in range(40)]})
    message_ids = [result["messageId"] for result in answer.json()["results"]]
    connector_id = ids.decode(ids.CONNECTOR, sender.connectors["sandbox"])
    assert connector_id is not None
    claims = Claims(sender.api.platform.database.raw, lease_s=30)
    claimed: set[str] = set()

    async def claim() -> None:
        for _ in range(20):
            taken = await claims.take([(1, connector_id)], 2)
            claimed.update(ids.encode(ids.MESSAGE, item.message_id) for item in taken)

    cancels = asyncio.gather(
        *(call(sender, f"/messages/{message_id}/cancel") for message_id in reversed(message_ids))
    )
    answers, _ = await asyncio.gather(cancels, claim())
    canceled = {answer.json()["messageId"] for answer in answers if answer.status_code == 200}
    refused = {
        (answer.status_code, answer.json()["code"])
        for answer in answers
        if answer.status_code != 200
    }
    assert refused == {(409, "MESSAGE_NOT_CANCELABLE")}
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


async def test_a_message_that_has_ended_can_be_sent_again(sender: Sender) -> None:
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
