"""Who makes send tokens, which keys they go with, and what ends them."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from backend import ids
from backend.services.keys.send_tokens import signing_secret
from tests.api.accounts import Api
from tests.api.shop import BLOCKED, MESSAGES, SHOP, TOKENS, Shop, open_shop, refusal

JTI = "abcdefghijklmnopqrstuvwx"


@pytest_asyncio.fixture
async def shop(api: Api) -> Shop:
    return await open_shop(api)


@pytest_asyncio.fixture(scope="module")
async def market(api: Api) -> Shop:
    """A shop that many share: for what is refused."""
    return await open_shop(api)


# --- Pages, keys and modes


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://shop.example", "https://shop.example:8443", "http://localhost:3000"],
)
async def test_only_the_keys_own_pages_may_send(market: Shop, origin: str | None) -> None:
    token = await market.token()
    assert refusal(await market.send(token, origin=origin)) == (403, "ORIGIN_NOT_ALLOWED")
    assert (await market.send(token)).status_code == 202


async def test_test_keys_go_together_and_work_on_the_developers_machine(shop: Shop) -> None:
    secret = (await shop.api.key(shop.account, mode="test"))["key"]
    page = (await shop.api.key(shop.account, mode="test", kind="publishable"))["key"]
    token = (await shop.ask({"to": "ada", "variables": {"code": "42"}}, key=secret)).json()[
        "sendToken"
    ]
    assert refusal(await shop.send(token)) == BLOCKED
    sent = await shop.send(token, key=page, origin="http://localhost:3000")
    assert sent.status_code == 202, sent.text
    assert (
        refusal(await shop.send(await shop.token(), key=page, origin="http://localhost:3000"))
        == BLOCKED
    )
    assert [message["mode"] for message in await shop.messages()] == ["test"]


async def test_without_a_token_a_publishable_key_sends_no_template(shop: Shop) -> None:
    everything: dict[str, Any] = {
        "to": "ada",
        "templateId": shop.template_id,
        "variables": {"name": "Ada", "code": "42"},
    }
    assert refusal(await shop.send(None, **everything)) == BLOCKED
    assert (
        refusal(await shop.send(None, to="ada", connector="sandbox", message="hi", variables=None))
        == BLOCKED
    )
    assert refusal(await shop.send(None)) == (400, "MISSING_REQUIRED_FIELD")


async def test_a_template_that_is_closed_again_takes_no_token(shop: Shop) -> None:
    token = await shop.token()
    path = f"/api/v1/projects/{shop.account.project_id}/templates/{shop.template_id}"
    assert (await shop.api.put(shop.account, path, {"access": "secret_only"})).status_code == 200
    assert refusal(await shop.send(token)) == BLOCKED
    refused = await shop.ask({"to": "ada"})
    assert refusal(refused) == (400, "VALIDATION_ERROR")
    assert "signed" in refused.json()["error"]


async def test_a_revoked_keys_tokens_are_refused_at_once(shop: Shop) -> None:
    key = await shop.api.key(shop.account, name="to be revoked")
    token, later = shop.forged(key=key["key"]), shop.forged(key=key["key"])
    assert (await shop.send(token)).status_code == 202
    path = f"/api/v1/projects/{shop.account.project_id}/keys/{key['id']}"
    assert (await shop.api.delete(shop.account, path)).status_code == 204
    assert refusal(await shop.send(later)) == BLOCKED


async def test_a_regenerated_key_signs_with_both_texts_for_the_overlap(shop: Shop) -> None:
    key = await shop.api.key(shop.account)
    path = f"/api/v1/projects/{shop.account.project_id}/keys/{key['id']}/regenerate"
    second = (await shop.api.post(shop.account, path, {"overlap": "1h"})).json()["key"]
    for text in (key["key"], second):
        assert (await shop.send(shop.forged(key=text))).status_code == 202
    third = (await shop.api.post(shop.account, path, {"overlap": 0})).json()["key"]
    for text in (key["key"], second):
        assert refusal(await shop.send(shop.forged(key=text))) == BLOCKED
    assert (await shop.send(shop.forged(key=third))).status_code == 202


async def test_a_key_without_the_scope_to_send_signs_nothing(shop: Shop) -> None:
    reader = (await shop.api.key(shop.account, scopes=["messages:read"]))["key"]
    assert refusal(await shop.ask({"to": "ada"}, key=reader)) == (403, "KEY_SCOPE")
    assert refusal(await shop.send(shop.forged(key=reader))) == BLOCKED


async def test_another_tenants_tokens_and_templates_are_nothing_here(shop: Shop, api: Api) -> None:
    stranger = await api.register()
    theirs = (await api.key(stranger))["key"]
    assert refusal(await shop.send(shop.forged(key=theirs))) == BLOCKED
    assert refusal(await shop.ask({"to": "ada"}, key=theirs)) == (404, "TEMPLATE_NOT_FOUND")
    project = f"/api/v1/projects/{stranger.project_id}"
    (foreign,) = (await api.get(stranger, f"{project}/connectors")).json()["connectors"]
    assert refusal(await shop.ask({"to": "ada", "connectorId": foreign["id"]})) == (
        404,
        "CONNECTOR_NOT_FOUND",
    )


async def test_what_is_used_up_in_one_project_is_free_in_another(shop: Shop, market: Shop) -> None:
    for item in (shop, market):
        assert (await item.send(item.forged(jti=JTI))).status_code == 202
        assert refusal(await item.send(item.forged(jti=JTI))) == BLOCKED


async def test_a_secret_key_needs_no_token_and_a_batch_checks_each(shop: Shop) -> None:
    token = await shop.token()
    refused = await shop.send(token, key=shop.secret, origin=None)
    assert refusal(refused) == (400, "VALIDATION_ERROR")
    item = {"to": "ada", "variables": {"name": "Ada"}, "sendToken": token}
    headers = {"Authorization": f"Bearer {shop.page}", "Origin": SHOP}
    batch = await shop.api.client.post(
        f"{MESSAGES}/batch", json={"messages": [item] * 3}, headers=headers
    )
    assert (batch.json()["accepted"], batch.json()["rejected"]) == (1, 2)
    assert len(await shop.messages()) == 1


# --- Asking for one


@pytest.mark.parametrize(
    ("body", "status", "code", "wrong"),
    [
        ({}, 400, "MISSING_REQUIRED_FIELD", "to"),
        ({"to": "ada", "toHash": "0" * 64}, 400, "MISSING_REQUIRED_FIELD", "to"),
        ({"toHash": "ada"}, 400, "VALIDATION_ERROR", "toHash"),
        ({"to": " "}, 400, "INVALID_TO", "to"),
        ({"to": "ada", "expiresInS": 601}, 400, "VALIDATION_ERROR", "expiresInS"),
        ({"to": "ada", "expiresInS": 0}, 400, "VALIDATION_ERROR", "expiresInS"),
        (
            {"to": "ada", "variables": {"colour": "red"}},
            400,
            "UNKNOWN_VARIABLE",
            "variables.colour",
        ),
        (
            {"to": "ada", "variables": {"code": None}},
            400,
            "MISSING_REQUIRED_FIELD",
            "variables.code",
        ),
        ({"to": "ada", "variables": {"code": "x" * 8000}}, 400, "VALIDATION_ERROR", "variables"),
        ({"to": "ada", "origin": "shop.example/path"}, 400, "VALIDATION_ERROR", "origin"),
        ({"to": "ada", "connector": "pigeon"}, 400, "INVALID_CONNECTOR_TYPE", "connector"),
        (
            {"to": "ada", "connector": "sandbox", "connectorId": "conn_x"},
            400,
            "VALIDATION_ERROR",
            "connector",
        ),
        ({"to": "ada", "jti": "mine"}, 400, "UNKNOWN_FIELD", "jti"),
    ],
)
async def test_a_wrong_wish_is_named(
    market: Shop, body: dict[str, Any], status: int, code: str, wrong: str
) -> None:
    refused = await market.ask(body)
    assert refusal(refused) == (status, code), refused.text
    assert [error["field"] for error in refused.json()["details"]["errors"]] == [wrong]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"to": "ada", "templateId": "tpl_x"}, "TEMPLATE_NOT_FOUND"),
        ({"to": "ada", "templateId": ids.encode(ids.TEMPLATE, ids.new_id())}, "TEMPLATE_NOT_FOUND"),
        ({"to": "ada", "connectorId": "conn_x"}, "CONNECTOR_NOT_FOUND"),
        ({"to": "ada", "connector": "smtp"}, "CONNECTOR_NOT_FOUND"),
    ],
)
async def test_a_wish_for_what_is_not_there_is_404(
    market: Shop, body: dict[str, Any], code: str
) -> None:
    assert refusal(await market.ask(body)) == (404, code)


async def test_only_a_secret_key_makes_tokens(shop: Shop) -> None:
    headers = {"Authorization": f"Bearer {shop.page}", "Origin": SHOP}
    body = {"templateId": shop.template_id, "to": "ada"}
    assert refusal(await shop.api.client.post(TOKENS, json=body, headers=headers)) == (
        403,
        "KEY_SCOPE",
    )
    assert refusal(await shop.api.post(shop.account, TOKENS, body)) == (401, "INVALID_API_KEY")
    assert refusal(await shop.api.client.post(TOKENS, json=body)) == (401, "MISSING_API_KEY")


async def test_no_page_of_another_site_reads_the_answer(shop: Shop) -> None:
    headers = {"Authorization": f"Bearer {shop.secret}", "Origin": "https://evil.example"}
    created = await shop.api.client.post(
        TOKENS, json={"templateId": shop.template_id, "to": "ada"}, headers=headers
    )
    assert "access-control-allow-origin" not in created.headers
    sent = await shop.send(await shop.token(), path="/api/v1/send")
    assert sent.headers["access-control-allow-origin"] == SHOP


async def test_a_key_from_before_there_were_tokens_makes_them_too(shop: Shop) -> None:
    """Its first wish leaves what they are signed with; until then its own are not known."""
    key = await shop.api.key(shop.account)
    async with shop.api.platform.database.raw.connection() as connection:
        await connection.execute(
            "DELETE FROM send_token_secrets WHERE key_id = %s", (ids.decode(ids.KEY, key["id"]),)
        )
    assert refusal(await shop.send(shop.forged(key=key["key"]))) == BLOCKED
    token = (await shop.ask({"to": "ada", "variables": {"code": "42"}}, key=key["key"])).json()[
        "sendToken"
    ]
    assert (await shop.send(token)).status_code == 202
    assert (await shop.send(shop.forged(key=key["key"]))).status_code == 202


async def test_the_database_holds_nothing_to_sign_with(shop: Shop) -> None:
    kid, secret = signing_secret(shop.secret)
    async with shop.api.platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT secret_encrypted FROM send_token_secrets WHERE kid = %s", (kid,)
        )
        row = await cursor.fetchone()
    assert row is not None
    assert secret.hex() not in row[0]
    assert shop.api.platform.vault.decrypt(row[0], context=kid) == secret.hex()
