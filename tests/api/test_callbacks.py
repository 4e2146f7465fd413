"""Providers' callbacks over HTTP: signed by the provider or refused, answered at once, shown in the
timeline.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest_asyncio

from backend import ids
from backend.models import Connector, Message
from backend.providers.frame.callbacks import CallbackRequest
from backend.services.access.access import system_access
from backend.services.callbacks.body_quota import LONGEST_BODY_BYTES
from backend.services.callbacks.intake import MOST_RECEIPTS
from backend.services.connectors.connectors import delete_connector
from backend.settings import Settings
from tests.api.accounts import Account, Api
from tests.api.apps import another_api
from tests.providers.fakes import Reported, TwilioCallbacks, WhatsAppCallbacks

WHATSAPP = {
    "phoneNumberId": "123456789",
    "accessToken": "EAAG",
    "appSecret": "app-1",
    "verifyToken": "word-1",
}
TWILIO = {"accountSid": "AC42", "authToken": "secret-1", "fromNumber": "+14155550100"}
META = WhatsAppCallbacks("app-1")


@pytest_asyncio.fixture(scope="module")
async def owner(api: Api) -> Account:
    return await api.register()


async def connector(api: Api, owner: Account, type_: str, credentials: dict[str, Any]) -> str:
    body = {"type": type_, "name": type_, "credentials": credentials}
    created = await api.post(owner, f"/api/v1/projects/{owner.project_id}/connectors", body)
    assert created.status_code == 201, created.text
    return str(created.json()["id"])


@pytest_asyncio.fixture
async def whatsapp(api: Api, owner: Account) -> str:
    return await connector(api, owner, "whatsapp", WHATSAPP)


@pytest_asyncio.fixture
async def twilio(api: Api, owner: Account) -> str:
    return await connector(api, owner, "twilio", TWILIO)


def path_of(connector_id: str) -> str:
    return f"/api/v1/callbacks/{connector_id}"


async def call(
    api: Api, connector_id: str, request: CallbackRequest, **headers: str
) -> httpx.Response:
    path = path_of(connector_id) + (f"?{request.query}" if request.query else "")
    return await api.client.post(path, content=request.body, headers={**request.headers, **headers})


async def sent_message(api: Api, owner: Account, connector_id: str) -> str:
    """Accept a message and record that it was handed over."""
    key = (await api.key(owner))["key"]
    body = {"to": "+14155550123", "connectorId": connector_id, "message": "hi"}
    answer = await api.client.post(
        "/api/v1/messages", json=body, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 202, answer.text
    message_id = str(answer.json()["messageId"])
    async with api.platform.database.raw.connection() as connection, connection.transaction():
        parameters = {
            "message": _uuid(message_id),
            "connector": _uuid(connector_id),
            "provider": f"p-{message_id}",
        }
        await connection.execute(
            "DELETE FROM send_queue WHERE message_id = %(message)s", parameters
        )
        await connection.execute(
            "UPDATE messages SET status = 'sent', sent_at = now(), provider_message_id ="
            " %(provider)s WHERE id = %(message)s",
            parameters,
        )
        await connection.execute(
            "INSERT INTO provider_refs VALUES (%(connector)s, %(provider)s, %(message)s, now())",
            parameters,
        )
    return message_id


def _uuid(text: str) -> UUID:
    value = ids.decode(text.partition("_")[0], text)
    assert value is not None
    return value


async def detail(api: Api, owner: Account, message_id: str) -> dict[str, Any]:
    await api.platform.receipt_applier.drain()
    answer: dict[str, Any] = (await api.get(owner, f"/api/v1/messages/{message_id}")).json()
    return answer


async def test_metas_callback_moves_the_message_and_its_timeline(
    api: Api, owner: Account, whatsapp: str
) -> None:
    message_id = await sent_message(api, owner, whatsapp)
    reported = [Reported(f"p-{message_id}", status) for status in ("delivered", "read")]
    answer = await call(api, whatsapp, META.request(*reported))
    assert (answer.status_code, answer.content) == (200, b"")
    shown = await detail(api, owner, message_id)
    assert shown["status"] == "read"
    assert [entry["status"] for entry in shown["timeline"]] == ["queued", "delivered", "read"]
    assert shown["deliveredAt"] is not None
    # Meta tells it again for days.
    assert (await call(api, whatsapp, META.request(*reported))).status_code == 200
    assert len((await detail(api, owner, message_id))["timeline"]) == 3


async def test_twilios_callback_is_signed_over_the_url_it_called(
    api: Api, owner: Account, twilio: str
) -> None:
    message_id = await sent_message(api, owner, twilio)
    maker = TwilioCallbacks("secret-1")
    reported = Reported(
        f"p-{message_id}",
        "undelivered",
        message_id=message_id,
        code=30005,
        reason="Unknown handset",
    )
    # What a proxy passes on says http and the inner host; here the host is the one that was called.
    request = maker.request(reported, url=f"https://messagejs.local{path_of(twilio)}")
    assert (await call(api, twilio, request)).status_code == 200
    shown = await detail(api, owner, message_id)
    assert (shown["status"], shown["timeline"][-1]["code"]) == ("undelivered", "30005")
    elsewhere = maker.request(reported, url=f"https://evil.example.com{path_of(twilio)}")
    assert (await call(api, twilio, elsewhere)).status_code == 403


async def test_behind_a_proxy_the_public_url_is_the_signed_one(settings: Settings) -> None:
    async with another_api(settings, api_base_url="https://msg.example.com/") as api:
        owner = await api.register()
        twilio = await connector(api, owner, "twilio", TWILIO)
        message_id = await sent_message(api, owner, twilio)
        reported = Reported(f"p-{message_id}", "delivered")
        request = TwilioCallbacks("secret-1").request(
            reported, url=f"https://msg.example.com{path_of(twilio)}"
        )
        assert (await call(api, twilio, request)).status_code == 200
        assert (await detail(api, owner, message_id))["status"] == "delivered"


async def test_the_handshake_is_answered_in_plain_text(
    api: Api, whatsapp: str, twilio: str
) -> None:
    query = {"hub.mode": "subscribe", "hub.verify_token": "word-1", "hub.challenge": "115820"}
    answer = await api.client.get(path_of(whatsapp), params=query)
    assert (answer.status_code, answer.text) == (200, "115820")
    assert answer.headers["content-type"].startswith("text/plain")
    wrong = await api.client.get(path_of(whatsapp), params={**query, "hub.verify_token": "word-2"})
    assert (wrong.status_code, "115820" in wrong.text) == (403, False)
    assert (await api.client.get(path_of(twilio), params=query)).status_code == 403


async def test_a_wrong_signature_is_refused_and_nothing_is_kept(
    api: Api, owner: Account, whatsapp: str
) -> None:
    message_id = await sent_message(api, owner, whatsapp)
    forged = WhatsAppCallbacks("guessed").request(Reported(f"p-{message_id}", "read"))
    for request in (
        forged,
        CallbackRequest(body=forged.body, headers={"content-type": "application/json"}),
    ):
        answer = await call(api, whatsapp, request)
        assert answer.status_code == 403
        assert "app-1" not in answer.text
    assert (await detail(api, owner, message_id))["status"] == "sent"
    async with api.platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM callbacks WHERE connector_id = %s", (_uuid(whatsapp),)
        )
        assert await cursor.fetchone() == (0,)


async def test_one_cannot_tell_which_connectors_there_are(
    api: Api, owner: Account, whatsapp: str
) -> None:
    """Unknown, deleted, or of a kind that sends none: the same answer."""
    silent = await connector(api, owner, "sandbox", {})
    gone = await connector(api, owner, "whatsapp", WHATSAPP)
    async with api.platform.database.transaction() as session:
        project_id = _uuid(owner.project_id)
        await delete_connector(session, system_access(project_id), connector_id=_uuid(gone))
    unknown = ids.encode(ids.CONNECTOR, ids.new_id())
    request = META.request(Reported("wamid.1", "read"))
    answers = [await call(api, item, request) for item in (silent, gone, unknown)]
    bodies = [{**answer.json(), "requestId": ""} for answer in answers]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert bodies[0] == bodies[1] == bodies[2]
    assert (await call(api, "conn_nothing", request)).status_code == 404


async def test_each_provider_writes_its_own_kind_of_body(
    api: Api, whatsapp: str, twilio: str
) -> None:
    request = META.request(Reported("wamid.1", "read"))
    for type_ in ("text/plain", "", "application/x-www-form-urlencoded"):
        answer = await call(api, whatsapp, request, **{"content-type": type_})
        assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert (await call(api, twilio, request)).status_code == 415
    ok = await call(api, whatsapp, request, **{"content-type": "application/json; charset=utf-8"})
    assert ok.status_code == 200


async def test_a_paused_or_broken_connector_still_hears(
    api: Api, owner: Account, whatsapp: str
) -> None:
    message_id = await sent_message(api, owner, whatsapp)
    path = f"/api/v1/projects/{owner.project_id}/connectors/{whatsapp}/deactivate"
    assert (await api.post(owner, path)).status_code == 200
    assert (
        await call(api, whatsapp, META.request(Reported(f"p-{message_id}", "read")))
    ).status_code == 200
    assert (await detail(api, owner, message_id))["status"] == "read"


async def test_new_credentials_count_at_once(api: Api, owner: Account, whatsapp: str) -> None:
    request = META.request(Reported("wamid.1", "read"))
    assert (await call(api, whatsapp, request)).status_code == 200
    path = f"/api/v1/projects/{owner.project_id}/connectors/{whatsapp}"
    assert (await api.put(owner, path, {"credentials": {"appSecret": "app-2"}})).status_code == 200
    assert (await call(api, whatsapp, request)).status_code == 403
    renewed = WhatsAppCallbacks("app-2").request(Reported("wamid.1", "read"))
    assert (await call(api, whatsapp, renewed)).status_code == 200


async def test_a_connector_shows_where_callbacks_go_and_since_when_they_come(
    api: Api, owner: Account, whatsapp: str
) -> None:
    path = f"/api/v1/projects/{owner.project_id}/connectors"
    before = (await api.get(owner, f"{path}/{whatsapp}")).json()
    assert (before["callbackPath"], before["callbackVerifiedAt"]) == (path_of(whatsapp), None)
    await call(api, whatsapp, META.request(Reported("wamid.1", "read")))
    first = (await api.get(owner, f"{path}/{whatsapp}")).json()["callbackVerifiedAt"]
    assert first is not None
    await call(api, whatsapp, META.request(Reported("wamid.2", "read")))
    assert (await api.get(owner, f"{path}/{whatsapp}")).json()["callbackVerifiedAt"] == first
    silent = await connector(api, owner, "sandbox", {})
    assert (await api.get(owner, f"{path}/{silent}")).json()["callbackPath"] is None


async def test_a_callback_may_be_larger_than_a_request(api: Api, whatsapp: str) -> None:
    many = META.request(*(Reported(f"wamid.{number}", "delivered") for number in range(1200)))
    assert 256 * 1024 < len(many.body) < 3 * 1024 * 1024
    assert (await call(api, whatsapp, many)).status_code == 200
    # Unknown ids: they are kept for the answers they may have overtaken, and cost no later test its
    # time.
    async with api.platform.database.raw.connection() as connection:
        await connection.execute(
            "DELETE FROM pending_receipts WHERE connector_id = %s", (_uuid(whatsapp),)
        )
    huge = META.signed(b"{" + b" " * (3 * 1024 * 1024) + b"}")
    assert (await call(api, whatsapp, huge)).status_code == 413


async def test_guesses_and_forgeries_are_limited_and_callbacks_are_not(settings: Settings) -> None:
    async with (
        another_api(settings, global_rate_limit_per_minute=30) as api,
        api.from_address("203.0.113.7") as meta,
    ):
        owner = await api.register()
        whatsapp = await connector(api, owner, "whatsapp", WHATSAPP)
        request = META.request(Reported("wamid.1", "read"))
        for _ in range(50):
            answer = await meta.post(
                path_of(whatsapp), content=request.body, headers=request.headers
            )
            assert answer.status_code == 200
        async with api.from_address("203.0.113.99") as guesser:
            unknown = [path_of(ids.encode(ids.CONNECTOR, ids.new_id())) for _ in range(20)]
            result = [
                (await guesser.post(item, content=request.body, headers=request.headers))
                for item in unknown
            ]
            forged = [(await guesser.post(path_of(whatsapp), json={})) for _ in range(20)]
        assert {answer.status_code for answer in result} == {404}
        assert {answer.status_code for answer in forged} == {403, 429}


async def test_without_a_database_the_provider_is_asked_to_come_back(
    settings: Settings, api: Api
) -> None:
    owner = await api.register()
    whatsapp = await connector(api, owner, "whatsapp", WHATSAPP)
    async with another_api(settings) as broken:
        request = META.request(Reported("wamid.1", "read"))
        assert (await call(broken, whatsapp, request)).status_code == 200
        await broken.platform.database.raw.close()
        answer = await call(broken, whatsapp, META.request(Reported("wamid.2", "read")))
        assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")


async def test_many_callbacks_at_once_are_all_applied(
    api: Api, owner: Account, whatsapp: str
) -> None:
    message_ids = await asyncio.gather(*(sent_message(api, owner, whatsapp) for _ in range(20)))
    requests = [
        META.request(Reported(f"p-{message_ids[n % 20]}", "delivered", at=1 + n))
        for n in range(200)
    ]
    answers = await asyncio.gather(*(call(api, whatsapp, request) for request in requests))
    assert {answer.status_code for answer in answers} == {200}
    await api.platform.receipt_applier.drain()
    async with api.platform.database.session() as session:
        for item in message_ids:
            message = await Message.find_any(session, _uuid(item))
            assert message is not None
            assert message.status == "delivered"
        result = await Connector.find_many(session, {_uuid(whatsapp)})
    assert result[0].callback_verified_at is not None


async def test_a_receipt_with_an_impossible_time_happened_when_it_arrived(
    api: Api, owner: Account, whatsapp: str
) -> None:
    for second in (-62135596800.0, 253402300799.0, 9e18):  # the years 1 and 9999, and none
        message_id = await sent_message(api, owner, whatsapp)
        reported = Reported(f"p-{message_id}", "delivered", at=second)
        assert (await call(api, whatsapp, META.request(reported))).status_code == 200
        shown = await detail(api, owner, message_id)
        assert shown["status"] == "delivered"
        assert abs(datetime.fromisoformat(shown["deliveredAt"]) - datetime.now(UTC)) < timedelta(
            minutes=5
        )


async def test_of_a_large_callback_a_part_is_kept_and_all_counts(
    api: Api, owner: Account, whatsapp: str
) -> None:
    message_id = await sent_message(api, owner, whatsapp)
    status = META.status(Reported(f"p-{message_id}", "delivered"))
    body = META.body([{"padding": "x" * 2_000_000}, status])
    assert (await call(api, whatsapp, META.signed(body))).status_code == 200
    assert (await detail(api, owner, message_id))["status"] == "delivered"
    async with api.platform.database.raw.connection() as connection:
        kept = "SELECT octet_length(body), receipts FROM callbacks WHERE connector_id = %s"
        row = await (await connection.execute(kept, (_uuid(whatsapp),))).fetchone()
    assert row == (LONGEST_BODY_BYTES, 1)
    # The same bytes are the same callback still.
    assert (await call(api, whatsapp, META.signed(body))).status_code == 200
    assert len((await detail(api, owner, message_id))["timeline"]) == 2


async def test_a_callback_has_as_many_receipts_as_a_provider_sends(
    api: Api, owner: Account, whatsapp: str
) -> None:
    many = [Reported(f"nobody-{number}", "read") for number in range(MOST_RECEIPTS + 500)]
    assert (await call(api, whatsapp, META.request(*many))).status_code == 200
    async with api.platform.database.raw.connection() as connection:
        kept = "SELECT sum(receipts) FROM callbacks WHERE connector_id = %s"
        assert await (await connection.execute(kept, (_uuid(whatsapp),))).fetchone() == (
            MOST_RECEIPTS,
        )
        await connection.execute(
            "DELETE FROM pending_receipts WHERE connector_id = %s", (_uuid(whatsapp),)
        )


async def test_callbacks_of_a_stopped_project_are_still_taken_and_of_a_deleted_one_unknown(
    api: Api,
) -> None:
    account = await api.register()
    connector_id = await connector(api, account, "whatsapp", WHATSAPP)
    path = f"/api/v1/projects/{account.project_id}"
    handshake = {"hub.mode": "subscribe", "hub.verify_token": "word-1", "hub.challenge": "4711"}

    async def ask() -> int:
        return (await api.client.get(path_of(connector_id), params=handshake)).status_code

    assert await ask() == 200
    await api.put(account, path, {"isActive": False})
    # What was sent before goes on to be delivered and read, and not every provider says so twice.
    assert await ask() == 200
    await api.delete(account, path)
    assert await ask() == 404
