"""What is asked of a provider over HTTP: a connector's test, and the check before it is stored."""

from __future__ import annotations

import pytest

from tests.api.accounts import Account, Api
from tests.api.connectors import (
    break_connector,
    created,
    path_of,
    smtp,
)
from tests.providers.fakes import FakeSmtp, refused_port

ENCODED = "=?utf-8?q?=0d=0aBcc:z?="


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
        FakeSmtp(username="u", password="right") as ours,
        FakeSmtp(username="u", password="right") as sink,
    ):
        answer = await created(api, ada, smtp(ours.port, username="u", password="right"))
        path = path_of(ada, answer["id"])
        refused = await api.put(ada, path, {"credentials": {"port": sink.port}})
        assert (refused.status_code, refused.json()["code"]) == (400, "SECRET_REQUIRED")
        assert refused.json()["details"]["errors"][0]["field"] == "credentials.password"
        assert "password again" in refused.json()["error"]
        assert (await api.post(ada, f"{path}/test")).json()["connected"] is True
        assert (ours.connections, sink.connections) == (1, 0)
        moved = {"credentials": {"port": sink.port, "password": "right"}}
        assert (await api.put(ada, path, moved)).status_code == 200
        assert (await api.post(ada, f"{path}/test")).json()["connected"] is True
        assert sink.connections == 1
