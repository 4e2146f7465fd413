"""What a web page sends with a token: one message, of one template, to one recipient; and nothing
else with a `pk_`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from typing import Any

import jwt
import pytest
import pytest_asyncio
from messagejs import create_send_token

from backend import ids
from backend.services.keys.send_tokens import AUDIENCE, signing_secret
from backend.services.policy.grants import _problem
from tests.api.accounts import Api
from tests.api.shop import BLOCKED, MESSAGES, SHOP, Shop, open_shop, refusal

JTI = "abcdefghijklmnopqrstuvwx"


@pytest_asyncio.fixture
async def shop(api: Api) -> Shop:
    return await open_shop(api)


@pytest_asyncio.fixture(scope="module")
async def market(api: Api) -> Shop:
    """A shop that many share: for what is refused."""
    return await open_shop(api)


# --- What a token is good for


async def test_a_page_sends_what_its_backend_allowed(shop: Shop) -> None:
    created = await shop.ask({"to": "ada", "variables": {"code": "42"}, "expiresInS": 60})
    assert (created.status_code, set(created.json())) == (201, {"sendToken", "expiresAt"})
    sent = await shop.send(created.json()["sendToken"], to="ada", templateId=shop.template_id)
    assert sent.status_code == 202, sent.text
    detail = (await shop.api.get(shop.account, f"{MESSAGES}/{sent.json()['messageId']}")).json()
    assert (detail["text"], detail["to"]) == ("Hi Ada, your code is 42", "ada")


async def test_the_page_need_not_know_recipient_and_template(shop: Shop) -> None:
    assert (await shop.send(await shop.token())).status_code == 202
    alias = await shop.send(
        await shop.token(),
        path="/api/v1/send",
        variables=None,
        templateParams={"name": "Ada"},
        recipient="ada",
    )
    assert alias.status_code == 202, alias.text
    assert [message["to"] for message in await shop.messages()] == ["ada", "ada"]


async def test_a_token_signed_by_the_backend_itself_is_as_good(shop: Shop) -> None:
    token = create_send_token(
        shop.secret,
        template_id=shop.template_id,
        to="ada",
        variables={"code": "42"},
        origin=SHOP,
        expires_in_s=600,
    )
    assert (await shop.send(token.send_token)).status_code == 202


async def test_a_recipient_may_be_named_by_its_hash(shop: Shop) -> None:
    hashed = hashlib.sha256(b"ada").hexdigest()
    token = await shop.token(to=None, toHash=hashed)
    assert "ada" not in str(jwt.decode(token, options={"verify_signature": False}))
    assert refusal(await shop.send(token)) == (400, "INVALID_TO")
    assert refusal(await shop.send(token, to="eve")) == BLOCKED
    assert (await shop.send(token, to="ada")).status_code == 202


async def test_recipients_are_compared_as_the_channel_writes_them(shop: Shop) -> None:
    credentials = {
        "accountSid": "AC" + "0" * 32,
        "authToken": "0" * 32,
        "fromNumber": "+14155550100",
    }
    project = f"/api/v1/projects/{shop.account.project_id}"
    connector = {"type": "twilio", "name": "SMS", "credentials": credentials}
    twilio = (await shop.api.post(shop.account, f"{project}/connectors", connector)).json()["id"]
    token = await shop.token(to="14155550123", connectorId=twilio)
    assert refusal(await shop.send(token, to="+14155550124")) == BLOCKED
    assert (
        refusal(await shop.send(token, to="+14155550123", connectorId=shop.connector_id)) == BLOCKED
    )
    assert (await shop.send(token, to="+14155550123", connectorId=twilio)).status_code == 202
    assert [(message["to"], message["connectorType"]) for message in await shop.messages()] == [
        ("+14155550123", "twilio")
    ]


# --- Forged and worn tokens


def _unsigned(shop: Shop) -> str:
    kid, _ = signing_secret(shop.secret)
    now = int(time.time())
    claims = {
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 60,
        "jti": JTI,
        "templateId": shop.template_id,
        "to": "ada",
    }
    return jwt.encode(claims, "", algorithm="none", headers={"kid": kid})


def _signed_otherwise(shop: Shop, algorithm: str, secret: bytes) -> str:
    claims = jwt.decode(shop.forged(), options={"verify_signature": False})
    return jwt.encode(
        claims, secret, algorithm=algorithm, headers={"kid": signing_secret(shop.secret).kid}
    )


def _changed(shop: Shop) -> str:
    """The claims of one token under the signature of another."""
    head, _, signature = shop.forged().split(".")
    return f"{head}.{shop.forged(to='eve').split('.')[1]}.{signature}"


def _part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


NOW = time.time
FORGERIES: dict[str, Any] = {
    "no JWT": lambda shop: "token",
    "alg none": _unsigned,
    "another algorithm": lambda shop: _signed_otherwise(
        shop, "HS512", signing_secret(shop.secret).secret
    ),
    "another secret": lambda shop: _signed_otherwise(shop, "HS256", b"x" * 32),
    "the key itself as the secret": lambda shop: _signed_otherwise(
        shop, "HS256", shop.secret.encode()
    ),
    "a key that is none": lambda shop: shop.forged(key="sk_live_" + "0" * 32),
    "the publishable key": lambda shop: shop.forged(key=shop.page),
    "changed": _changed,
    "expired": lambda shop: shop.forged(iat=int(NOW()) - 120, exp=int(NOW()) - 1),
    "too long": lambda shop: shop.forged(exp=int(NOW()) + 601),
    "too far ahead": lambda shop: shop.forged(iat=int(NOW()) + 590, exp=int(NOW()) + 1190),
    "from the future": lambda shop: shop.forged(iat=int(NOW()) + 40),
    "not yet": lambda shop: shop.forged(nbf=int(NOW()) + 40),
    "no end": lambda shop: shop.forged(exp=None),
    "no beginning": lambda shop: shop.forged(iat=None),
    "no jti": lambda shop: shop.forged(jti=None),
    "a short jti": lambda shop: shop.forged(jti="1"),
    "an endless jti": lambda shop: shop.forged(jti="x" * 65),
    "no audience": lambda shop: shop.forged(aud=None),
    "another audience": lambda shop: shop.forged(aud="messagejs:dashboard"),
    "two audiences": lambda shop: shop.forged(aud=[AUDIENCE, "messagejs:dashboard"]),
    "no template": lambda shop: shop.forged(templateId=None),
    "no recipient": lambda shop: shop.forged(to=None),
    "two recipients": lambda shop: shop.forged(toHash="0" * 64),
    "two connectors": lambda shop: shop.forged(connector="sandbox", connectorId=shop.connector_id),
    "an unknown claim": lambda shop: shop.forged(country="DE"),
    "variables that are none": lambda shop: shop.forged(variables=["code"]),
    "a NUL character": lambda shop: shop.forged(variables={"code": "a\x00b"}),
    "half a character": lambda shop: shop.forged(variables={"code": "\ud800"}),
    "infinity": lambda shop: shop.forged(exp=float("inf")),
    "issued at no time": lambda shop: shop.forged(iat=float("nan")),
    "issued forever ago": lambda shop: shop.forged(iat=float("-inf")),
    "no time to begin": lambda shop: shop.forged(nbf=float("nan")),
    "an endless end": lambda shop: shop.forged(exp=10**400),
    "a number of 65 bits": lambda shop: shop.forged(variables={"code": 1 << 64}),
    "a number that is none": lambda shop: shop.forged(variables={"code": float("nan")}),
    "a deep claim": lambda shop: shop.forged(variables={"code": json.loads("[" * 900 + "]" * 900)}),
    "a deeper head": lambda _: ".".join(_part(item) for item in ("[" * 5000, "{}", "")),
}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_token_that_is_not_right_sends_nothing(market: Shop, forgery: str) -> None:
    before = await market.messages()
    refused = await market.send(FORGERIES[forgery](market), to="ada", templateId=market.template_id)
    assert refusal(refused) == BLOCKED, refused.text
    assert await market.messages() == before
    # The rest of the request is in order.
    assert (
        await market.send(market.forged(), to="ada", templateId=market.template_id)
    ).status_code == 202


async def test_a_token_is_good_for_its_template_connector_recipient_and_page_only(
    shop: Shop,
) -> None:
    project = f"/api/v1/projects/{shop.account.project_id}"
    other = {
        "name": "other",
        "connectorType": "sandbox",
        "content": "Hi {{name}} {{code}}",
        "access": "signed",
    }
    other_id = (await shop.api.post(shop.account, f"{project}/templates", other)).json()["id"]
    token = await shop.token(origin=SHOP + "/")
    for body in (
        {"templateId": other_id},
        {"to": "eve"},
        {"connector": "smtp"},
        {"connectorId": ids.encode(ids.CONNECTOR, ids.new_id())},
        {"variables": {"name": "Ada", "code": "43"}},
    ):
        assert refusal(await shop.send(token, **body)) == BLOCKED, body
    elsewhere = await shop.token(origin="https://other.example")
    assert refusal(await shop.send(elsewhere)) == BLOCKED
    assert await shop.messages() == []
    assert (await shop.send(token, variables={"name": "Ada", "code": "42"})).status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {"message": "Buy now"},
        {"subject": "Buy now"},
        {"html": "<b>Buy now</b>"},
        {"priority": "high"},
        {"metadata": {"order": 1}},
        {"sendAt": "2030-01-01T00:00:00Z"},
        {"expiresAt": "2030-01-01T00:00:00Z"},
    ],
    ids=lambda body: next(iter(body)),
)
async def test_a_page_says_recipient_and_variables_only(market: Shop, body: dict[str, Any]) -> None:
    token = await market.token()
    assert refusal(await market.send(token, **body)) == BLOCKED
    assert (await market.send(token)).status_code == 202


@pytest.mark.parametrize(
    "value",
    [
        "see https://evil.example/x",
        "www.evil.example",
        "evil.example",
        "x" * 201,
        ["Ada"],
        {"a": "b"},
    ],
    ids=["link", "www", "domain", "long", "list", "object"],
)
async def test_what_a_page_writes_itself_is_short_and_without_links(
    market: Shop, value: Any
) -> None:
    refused = await market.send(await market.token(), variables={"name": value})
    assert refusal(refused) == (400, "VALIDATION_ERROR")
    assert refused.json()["details"]["errors"][0]["field"] == "variables.name"
    locked = await market.token(variables={"code": "42", "name": "see https://shop.example/x"})
    assert (await market.send(locked, variables={})).status_code == 202


@pytest.mark.parametrize(
    "value",
    [
        "evil\u3002com", "evil\uff0ecom", "evil\uff61com", "evil\u2024com", "ｅｖｉｌ．ｃｏｍ",
        "www\u3002evil\u3002com", "evil.c\u00adom",
        "evil\u200b.com", "https\uff1a//x", "https:\uff0f\uff0fx", "谷歌\u3002xn--fiqs8s",
        "evil.भारत", "evil.कॉम",
    ],
)  # fmt: skip
def test_a_link_in_any_spelling_is_a_link(value: str) -> None:
    assert _problem("name", value) is not None


@pytest.mark.parametrize(
    "value",
    [
        "Zoë",
        "你好\u3002谢谢",
        "Wait… what",
        "3.14",
        "ok\u3002",
        "こんにちは\u3002ありがとう",
        "Dr. Müller",
        "½ off",
    ],
)
def test_dots_do_not_make_a_text_a_link(value: str) -> None:
    assert _problem("name", value) is None


# --- Good once


async def test_twenty_requests_with_one_token_make_one_message(shop: Shop) -> None:
    token = await shop.token()
    answers = await asyncio.gather(*(shop.send(token) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [202] + [403] * 19
    assert {refusal(answer) for answer in answers if answer.status_code == 403} == {BLOCKED}
    assert (
        "already used"
        in next(answer for answer in answers if answer.status_code == 403).json()["error"]
    )
    assert len(await shop.messages()) == 1


async def test_a_repeat_under_its_idempotency_key_gets_the_first_answer(shop: Shop) -> None:
    token = await shop.token()
    answers = await asyncio.gather(*(shop.send(token, idempotency="once") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["messageId"] for answer in answers}) == 1
    later = await shop.send(token, idempotency="once")
    assert (later.status_code, later.headers["Idempotency-Replayed"]) == (202, "true")
    assert refusal(await shop.send(token, idempotency="another")) == BLOCKED
    assert refusal(await shop.send(token)) == BLOCKED
    # A used key does not use up the token that came with it.
    fresh = await shop.token()
    assert refusal(await shop.send(fresh, idempotency="once")) == (422, "IDEMPOTENCY_CONFLICT")
    assert (await shop.send(fresh)).status_code == 202
    assert len(await shop.messages()) == 2


async def test_a_page_takes_no_idempotency_key_of_the_server(shop: Shop) -> None:
    assert (await shop.send(await shop.token(), idempotency="order-17")).status_code == 202
    body: dict[str, Any] = {
        "to": "ada",
        "templateId": shop.template_id,
        "variables": {"name": "Ada", "code": "1"},
    }
    ours = await shop.send(None, key=shop.secret, origin=None, idempotency="order-17", **body)
    assert ours.status_code == 202, ours.text
    assert "Idempotency-Replayed" not in ours.headers


async def test_a_refused_send_leaves_the_token_as_it_was(shop: Shop) -> None:
    token = await shop.token()
    assert refusal(await shop.send(token, variables={})) == (400, "MISSING_REQUIRED_FIELD")
    assert refusal(await shop.send(token, origin="https://evil.example")) == (
        403,
        "ORIGIN_NOT_ALLOWED",
    )
    assert (await shop.send(token)).status_code == 202
