"""Signing a send token without the server: it derives the same secret."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import messagejs
import pytest
from messagejs import SendToken, create_send_token

from backend.services.policy.send_tokens import AUDIENCE, LONGEST_LIFE_S, read, signing_secret

KEY = "sk_live_" + "a" * 32


def test_the_server_reads_what_the_client_signed() -> None:
    token = create_send_token(
        KEY, template_id="tpl_1", to="ada@example.com", connector="smtp",
        variables={"name": "Zoë ☃"}, origin="https://shop.example", expires_in_s=LONGEST_LIFE_S,
    )  # fmt: skip
    signing = signing_secret(KEY)
    assert jwt.get_unverified_header(token.send_token) == {
        "alg": "HS256",
        "kid": signing.kid,
        "typ": "JWT",
    }
    now = datetime.now(UTC)
    claims = read(token.send_token, signing.secret, now=now)
    assert (claims.aud, claims.template_id, claims.to) == (AUDIENCE, "tpl_1", "ada@example.com")
    assert (claims.connector, claims.variables, claims.origin) == (
        "smtp",
        {"name": "Zoë ☃"},
        "https://shop.example",
    )
    assert abs(token.expires_at - now - timedelta(seconds=LONGEST_LIFE_S)) < timedelta(seconds=2)


def test_two_tokens_are_never_the_same() -> None:
    tokens = {create_send_token(KEY, template_id="tpl_1", to="ada").send_token for _ in range(100)}
    assert len(tokens) == 100


def test_neither_the_key_nor_the_token_shows() -> None:
    token = create_send_token(KEY, template_id="tpl_1", to="ada")
    kid, secret = signing_secret(KEY)
    assert KEY not in token.send_token
    assert secret.hex()[:32] not in kid
    assert token.send_token not in repr(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"api_key": "pk_live_" + "a" * 32},
        {"to": None},
        {"to_hash": "0" * 64},
        {"connector": "smtp", "connector_id": "conn_1"},
        {"expires_in_s": 601},
        {"expires_in_s": 0},
        {"variables": {"n": float("nan")}},
    ],
    ids=" ".join,
)
def test_what_the_server_would_refuse_is_refused_here(changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"api_key": KEY, "template_id": "tpl_1", "to": "ada", **changes}
    with pytest.raises(ValueError, match=r"\w"):
        create_send_token(arguments.pop("api_key"), **arguments)


def test_the_documentations_example_runs() -> None:
    example = re.search(
        r"( {4}from messagejs import create_send_token\n.*?)\n\n\S",
        messagejs.__doc__ or "",
        re.DOTALL,
    )
    assert example is not None
    names: dict[str, Any] = {}
    exec("if True:\n" + example[1], names)  # noqa: S102 (our own documentation)
    assert isinstance(names["token"], SendToken)
