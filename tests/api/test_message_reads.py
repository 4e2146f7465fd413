"""Reading messages over HTTP: who may, which ones, and in what shape."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from backend import ids
from backend.ids import new_id
from backend.models import Attempt, Event
from tests.api.accounts import Account, Api
from tests.api.messages import NOW, save


async def listed(api: Api, account: Account, **params: Any) -> list[str]:
    response = await api.get(account, "/api/v1/messages", projectId=account.project_id, **params)
    assert response.status_code == 200, response.text
    return [message["id"] for message in response.json()["messages"]]


async def with_key(
    api: Api, key: str, path: str = "/api/v1/messages", **params: Any
) -> httpx.Response:
    return await api.client.get(path, headers={"Authorization": f"Bearer {key}"}, params=params)


async def test_the_references_list_has_its_shape(api: Api) -> None:
    account = await api.register()
    message_id = await save(api, account, sent_at=NOW + timedelta(seconds=5))
    response = await api.get(
        account, "/api/v1/messages", projectId=account.project_id, limit=50, offset=0
    )
    assert response.status_code == 200
    (message,) = response.json()["messages"]
    expected = {
        "id": message_id,
        "to": "+1234567890",
        "text": "Hello, world!",
        "status": "sent",
        "connectorType": "whatsapp",
        "sentAt": f"{NOW + timedelta(seconds=5):%Y-%m-%dT%H:%M:%S}.000Z",
        "createdAt": f"{NOW:%Y-%m-%dT%H:%M:%S}.000Z",
    }
    assert expected.items() <= message.items()
    pagination = response.json()["pagination"]
    assert {
        "limit": 50,
        "offset": 0,
        "total": 1,
        "hasMore": False,
        "nextCursor": None,
    }.items() <= pagination.items()


async def test_the_references_detail_has_its_shape_and_the_whole_story(api: Api) -> None:
    account = await api.register()
    message_id = await save(
        api,
        account,
        provider_message_id="wamid.xxx",
        metadata_={"order": 7},
        delivered_at=NOW,
        error_reason="why",
    )
    row_id, project_id = (
        ids.decode(ids.MESSAGE, message_id),
        ids.decode(ids.PROJECT, account.project_id),
    )
    assert row_id is not None
    assert project_id is not None
    attempt = Attempt(
        id=new_id(),
        message_id=row_id,
        project_id=project_id,
        connector_id=new_id(),
        number=1,
        outcome="accepted",
        answer={"ok": True},
        started_at=NOW,
        duration_ms=12.5,
    )
    event = Event(
        id=new_id(),
        project_id=project_id,
        message_id=row_id,
        type="message.sent",
        data={"attemptId": str(attempt.id)},
        created_at=NOW,
    )
    async with api.platform.database.transaction() as session:
        session.add_all([attempt, event])
    response = await api.get(account, f"/api/v1/messages/{message_id}")
    assert response.status_code == 200, response.text
    message = response.json()
    assert message["projectId"] == account.project_id
    assert message["connectorId"].startswith("conn_")
    assert message["metadata"] == {"order": 7, "messageId": "wamid.xxx"}
    assert message["deliveredAt"] is not None
    assert message["error"] == "why"
    (shown,) = message["attempts"]
    assert (shown["number"], shown["outcome"], shown["durationMs"], shown["answer"]) == (
        1,
        "accepted",
        12.5,
        {"ok": True},
    )
    assert [entry["status"] for entry in message["timeline"]] == ["queued", "sent"]
    assert message["timeline"][1]["attemptId"] == shown["id"]


async def test_filters_work_together(api: Api) -> None:
    account = await api.register()
    key_id = new_id()
    expected = await save(
        api,
        account,
        status="failed",
        key_id=key_id,
        recipient="ann@example.com",
        connector_type="smtp",
    )
    old = await save(
        api, account, at=NOW - timedelta(days=3), status="failed", connector_type="smtp"
    )
    await save(api, account)
    assert await listed(api, account, status="failed") == [expected, old]
    assert await listed(
        api, account, status="failed", **{"from": f"{NOW - timedelta(days=1):%Y-%m-%d}"}
    ) == [expected]
    assert await listed(api, account, to=f"{NOW - timedelta(days=3):%Y-%m-%d}") == [old]
    assert await listed(api, account, connector="smtp", recipient="ann@example.com") == [expected]
    assert await listed(api, account, keyId=ids.encode(ids.KEY, key_id)) == [expected]
    assert await listed(api, account, id=expected) == [expected]
    assert await listed(api, account, connector=ids.encode(ids.CONNECTOR, new_id())) == []
    assert await listed(api, account, status="", recipient="", keyId="", id=old) == [old]


@pytest.mark.parametrize(
    ("params", "code", "field"),
    [
        ({"status": "lost"}, "VALIDATION_ERROR", "status"),
        ({"connector": "pigeon"}, "INVALID_CONNECTOR_TYPE", "connector"),
        ({"connector": "conn_nonsense"}, "VALIDATION_ERROR", "connector"),
        ({"from": "yesterday"}, "VALIDATION_ERROR", "from"),
        ({"to": "2024-13-01"}, "VALIDATION_ERROR", "to"),
        ({"from": "2024-02-01", "to": "2024-01-01"}, "VALIDATION_ERROR", "from"),
        ({"keyId": "nonsense"}, "VALIDATION_ERROR", "keyId"),
        ({"templateId": "tpl_x"}, "VALIDATION_ERROR", "templateId"),
        ({"id": "key_01h455vb4pex5vsknk084sn02q"}, "VALIDATION_ERROR", "id"),
        ({"mode": "dry"}, "VALIDATION_ERROR", "mode"),
        ({"limit": 0}, "VALIDATION_ERROR", "limit"),
        ({"limit": 101}, "VALIDATION_ERROR", "limit"),
        ({"offset": -1}, "VALIDATION_ERROR", "offset"),
        ({"cursor": "nonsense"}, "VALIDATION_ERROR", "cursor"),
        ({"projectId": ""}, "MISSING_REQUIRED_FIELD", "projectId"),
    ],
)
async def test_a_wrong_parameter_is_named(
    api: Api, ada: Account, params: dict[str, Any], code: str, field: str
) -> None:
    response = await api.get(ada, "/api/v1/messages", **{"projectId": ada.project_id, **params})
    assert response.status_code == 400, response.text
    assert (response.json()["code"], response.json()["details"]["errors"][0]["field"]) == (
        code,
        field,
    )


async def test_cursors_lead_through_all_messages(api: Api) -> None:
    account = await api.register()
    saved = [await save(api, account, at=NOW - timedelta(seconds=n)) for n in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        params = {
            "projectId": account.project_id,
            "limit": 2,
            **({"cursor": cursor} if cursor else {}),
        }
        page = (await api.get(account, "/api/v1/messages", **params)).json()
        seen += [message["id"] for message in page["messages"]]
        cursor = page["pagination"]["nextCursor"]
    assert (seen, cursor) == (saved, None)


async def test_a_key_with_the_scope_reads_its_own_project_only(api: Api) -> None:
    account, other = await api.register(), await api.register()
    message_id, foreign_id = await save(api, account), await save(api, other)
    key = (await api.key(account))["key"]
    assert [m["id"] for m in (await with_key(api, key)).json()["messages"]] == [message_id]
    assert (await with_key(api, key, projectId=account.project_id)).status_code == 200
    refused = await with_key(api, key, projectId=other.project_id)
    assert (refused.status_code, refused.json()["code"]) == (404, "PROJECT_NOT_FOUND")
    assert (await with_key(api, key, f"/api/v1/messages/{message_id}")).status_code == 200
    missing = await with_key(api, key, f"/api/v1/messages/{foreign_id}")
    assert (missing.status_code, missing.json()["code"]) == (404, "MESSAGE_NOT_FOUND")


async def test_a_key_without_the_scope_reads_nothing(api: Api) -> None:
    account = await api.register()
    message_id = await save(api, account)
    key = (await api.key(account, scopes=["messages:send"]))["key"]
    publishable = (
        await api.key(account, kind="publishable", allowedOrigins=["https://example.com"])
    )["key"]
    for path in ("/api/v1/messages", f"/api/v1/messages/{message_id}"):
        refused = await with_key(api, key, path)
        assert (refused.status_code, refused.json()["code"]) == (403, "KEY_SCOPE")
        assert (await with_key(api, publishable, path)).status_code == 403


async def test_a_test_key_sees_test_messages_only(api: Api) -> None:
    account = await api.register()
    live, test = await save(api, account), await save(api, account, mode="test")
    key = (await api.key(account, mode="test"))["key"]
    assert [m["id"] for m in (await with_key(api, key)).json()["messages"]] == [test]
    assert (await with_key(api, key, mode="live")).status_code == 403
    assert (await with_key(api, key, f"/api/v1/messages/{live}")).status_code == 404
    assert (await with_key(api, key, f"/api/v1/messages/{test}")).status_code == 200
    assert await listed(api, account, mode="live") == [live]


async def test_strangers_learn_nothing(api: Api, ada: Account) -> None:
    message_id = await save(api, ada)
    stranger = await api.register()
    foreign = await api.get(stranger, "/api/v1/messages", projectId=ada.project_id)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "PROJECT_NOT_FOUND")
    for expected in (message_id, "msg_nonsense", ids.encode(ids.MESSAGE, new_id())):
        response = await api.get(stranger, f"/api/v1/messages/{expected}")
        assert (response.status_code, response.json()["code"]) == (404, "MESSAGE_NOT_FOUND")
    assert (await api.client.get("/api/v1/messages")).status_code == 401
    assert (await api.client.get(f"/api/v1/messages/{message_id}")).status_code == 401


@pytest.mark.parametrize(
    "instant", ["0001-12-31 10:00:00+00 BC", "10000-01-01 00:00:00+00", "infinity", "-infinity"]
)
async def test_a_message_with_an_instant_beyond_pythons_is_shown(api: Api, instant: str) -> None:
    """It reads as the furthest that there is; it once made every page of its project a 500."""
    account = await api.register()
    message_id = await save(api, account)
    async with api.platform.database.raw.connection() as connection:
        await connection.execute(
            "UPDATE messages SET expires_at = %s, send_at = %s WHERE project_id = %s",
            (instant, instant, ids.decode(ids.PROJECT, account.project_id)),
        )
    shown = await api.get(account, "/api/v1/messages", projectId=account.project_id)
    assert shown.status_code == 200, shown.text
    assert [message["id"] for message in shown.json()["messages"]] == [message_id]
    assert (await api.get(account, f"/api/v1/messages/{message_id}")).status_code == 200
