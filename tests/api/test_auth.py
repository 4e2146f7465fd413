"""Accounts and log-ins over HTTP, in reference 002's shapes."""

from __future__ import annotations

import asyncio
import base64
import re
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from backend.ids import new_id
from tests.api.accounts import PASSWORD, Account, Api

REGISTER = "/api/v1/auth/register"
LOGIN = "/api/v1/auth/login"
REFRESH = "/api/v1/auth/refresh"
ME = "/api/v1/auth/me"


def fresh_email() -> str:
    return f"{new_id()}@example.com"


async def test_registering_answers_with_the_user_and_tokens(api: Api) -> None:
    email = fresh_email()
    response = await api.client.post(
        REGISTER, json={"email": email, "password": PASSWORD, "name": "John Doe"}
    )
    assert response.status_code == 201
    body = response.json()
    assert body.keys() == {"user", "token", "refreshToken"}
    assert body["user"].keys() == {"id", "email", "name", "createdAt"}
    assert re.fullmatch(r"usr_[0-9a-z]{26}", body["user"]["id"])
    assert body["user"]["email"] == email
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["user"]["createdAt"])
    assert response.headers["cache-control"] == "no-store"


async def test_registering_makes_a_project_with_a_sandbox(api: Api) -> None:
    account = await api.register(name="Grace")
    projects = (await api.get(account, "/api/v1/projects")).json()["projects"]
    assert [project["name"] for project in projects] == ["Grace's project"]


async def test_an_email_registers_once_whatever_its_case(api: Api, ada: Account) -> None:
    body = {"email": ada.email.upper(), "password": PASSWORD}
    response = await api.client.post(REGISTER, json=body)
    assert (response.status_code, response.json()["code"]) == (409, "EMAIL_TAKEN")


async def test_of_two_registrations_at_once_one_wins(api: Api) -> None:
    body = {"email": fresh_email(), "password": PASSWORD}
    responses = await asyncio.gather(*(api.client.post(REGISTER, json=body) for _ in range(2)))
    assert sorted(response.status_code for response in responses) == [201, 409]


@pytest.mark.parametrize(
    "email", ["not-an-email", "a@", "@b.com", "a b@c.com", "a@b", "a@@b.com", ""]
)
async def test_a_bad_email_is_named(api: Api, email: str) -> None:
    response = await api.client.post(REGISTER, json={"email": email, "password": PASSWORD})
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_EMAIL")
    assert response.json()["details"]["errors"][0]["field"] == "email"


@pytest.mark.parametrize("password", ["", "short", "1234567", "x" * 1025])
async def test_a_password_needs_8_to_1024_characters(api: Api, password: str) -> None:
    response = await api.client.post(REGISTER, json={"email": fresh_email(), "password": password})
    assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
    assert not password or password not in response.text


async def test_logging_in_answers_with_the_user_and_tokens(api: Api, ada: Account) -> None:
    response = await api.client.post(LOGIN, json={"email": ada.email.upper(), "password": PASSWORD})
    assert response.status_code == 200
    body = response.json()
    assert body.keys() == {"user", "token", "refreshToken"}
    assert body["user"] == {"id": ada.user_id, "email": ada.email, "name": "Ada Lovelace"}


async def test_every_byte_of_a_long_password_counts(api: Api) -> None:
    account = await api.register(password="x" * 100 + "a")
    wrong = await api.client.post(LOGIN, json={"email": account.email, "password": "x" * 100 + "b"})
    assert wrong.status_code == 401
    right = await api.client.post(LOGIN, json={"email": account.email, "password": "x" * 100 + "a"})
    assert right.status_code == 200


async def test_an_unknown_account_and_a_wrong_password_get_the_same_answer(
    api: Api, ada: Account
) -> None:
    async with api.from_address("198.51.100.1") as client:
        wrong = await client.post(LOGIN, json={"email": ada.email, "password": "wrong password"})
        unknown = await client.post(
            LOGIN, json={"email": fresh_email(), "password": "wrong password"}
        )
    assert wrong.status_code == unknown.status_code == 401
    answers = [{**response.json(), "requestId": None} for response in (wrong, unknown)]
    assert answers[0] == answers[1]
    assert answers[0]["code"] == "INVALID_CREDENTIALS"


async def test_an_account_is_closed_to_guessing_after_ten_wrong_passwords(api: Api) -> None:
    account = await api.register()
    async with api.from_address("198.51.100.2") as client:
        wrong = {"email": account.email, "password": "wrong password"}
        statuses = [(await client.post(LOGIN, json=wrong)).status_code for _ in range(11)]
        assert statuses == [401] * 10 + [429]
        refused = await client.post(
            LOGIN, json={"email": account.email, "password": account.password}
        )
    assert refused.json()["code"] == "RATE_LIMIT_EXCEEDED"
    assert 0 < int(refused.headers["retry-after"]) <= 900


async def test_a_right_password_forgives_the_wrong_ones_before(api: Api) -> None:
    account = await api.register()
    async with api.from_address("198.51.100.3") as client:
        wrong = {"email": account.email, "password": "wrong password"}
        right = {"email": account.email, "password": account.password}
        for _ in range(3):
            statuses = [(await client.post(LOGIN, json=wrong)).status_code for _ in range(4)]
            assert statuses == [401] * 4
            assert (await client.post(LOGIN, json=right)).status_code == 200


async def test_me_tells_who_is_logged_in(api: Api, ada: Account) -> None:
    user = (await api.get(ada, ME)).json()["user"]
    assert user.keys() == {"id", "email", "name", "createdAt", "lastLogin"}
    assert user["email"] == ada.email
    assert user["lastLogin"] is not None


async def test_logging_out_ends_the_access_token_and_the_refresh_token(api: Api) -> None:
    account = await api.register()
    response = await api.post(account, "/api/v1/auth/logout")
    assert (response.status_code, response.content) == (204, b"")
    after = await api.get(account, ME)
    assert (after.status_code, after.json()["code"]) == (401, "INVALID_TOKEN")
    refreshed = await api.client.post(REFRESH, json={"refreshToken": account.refresh_token})
    assert refreshed.status_code == 401


async def test_logging_out_leaves_other_log_ins_alone(api: Api) -> None:
    account = await api.register()
    other = await api.client.post(
        LOGIN, json={"email": account.email, "password": account.password}
    )
    await api.post(account, "/api/v1/auth/logout")
    headers = {"Authorization": f"Bearer {other.json()['token']}"}
    assert (await api.client.get(ME, headers=headers)).status_code == 200


async def test_refreshing_gives_a_new_pair(api: Api) -> None:
    account = await api.register()
    response = await api.client.post(REFRESH, json={"refreshToken": account.refresh_token})
    assert response.status_code == 200
    body = response.json()
    assert body["refreshToken"] != account.refresh_token
    headers = {"Authorization": f"Bearer {body['token']}"}
    assert (await api.client.get(ME, headers=headers)).status_code == 200


async def test_using_a_refresh_token_twice_ends_the_whole_log_in(api: Api) -> None:
    account = await api.register()
    first = await api.client.post(REFRESH, json={"refreshToken": account.refresh_token})
    newer = first.json()
    second = await api.client.post(REFRESH, json={"refreshToken": account.refresh_token})
    assert (second.status_code, second.json()["code"]) == (401, "INVALID_TOKEN")
    # The one that was honestly renewed is refused too, and so is its access token.
    assert (
        await api.client.post(REFRESH, json={"refreshToken": newer["refreshToken"]})
    ).status_code == 401
    headers = {"Authorization": f"Bearer {newer['token']}"}
    assert (await api.client.get(ME, headers=headers)).status_code == 401


async def test_one_refresh_token_used_twice_at_once_works_at_most_once(api: Api) -> None:
    account = await api.register()
    body = {"refreshToken": account.refresh_token}
    responses = await asyncio.gather(*(api.client.post(REFRESH, json=body) for _ in range(4)))
    assert sorted(response.status_code for response in responses) == [200, 401, 401, 401]


@pytest.mark.parametrize("token", ["rf_unknown", "nonsense", "cs_whatever"])
async def test_an_unknown_refresh_token_is_refused(api: Api, token: str) -> None:
    response = await api.client.post(REFRESH, json={"refreshToken": token})
    assert (response.status_code, response.json()["code"]) == (401, "INVALID_TOKEN")


def claims(account: Account, **changes: object) -> dict[str, object]:
    good = jwt.decode(account.token, options={"verify_signature": False})
    return {**good, **changes}


async def test_an_expired_access_token_says_so(api: Api, ada: Account) -> None:
    secret = api.platform.settings.require_jwt_secret()
    past = datetime.now(UTC) - timedelta(minutes=1)
    token = jwt.encode(claims(ada, exp=past), secret, algorithm="HS256")
    response = await api.client.get(ME, headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["code"]) == (401, "TOKEN_EXPIRED")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_only_tokens_that_this_server_signed_for_itself_are_taken(
    api: Api, ada: Account
) -> None:
    secret = api.platform.settings.require_jwt_secret()
    forged = [
        jwt.encode(claims(ada), "0" * 64, algorithm="HS256"),
        jwt.encode(claims(ada), "", algorithm="none"),
        jwt.encode(claims(ada), secret * 2, algorithm="HS512"),
        jwt.encode(claims(ada, aud="another"), secret, algorithm="HS256"),
        jwt.encode(claims(ada, iss="another"), secret, algorithm="HS256"),
        jwt.encode(claims(ada, sid="ses_nonsense"), secret, algorithm="HS256"),
        "nonsense",
        f"{base64.urlsafe_b64encode(b'[' * 5001).decode()}.e30.",  # nested deeper than Python reads
    ]
    for token in forged:
        response = await api.client.get(ME, headers={"Authorization": f"Bearer {token}"})
        assert (response.status_code, response.json()["code"]) == (401, "INVALID_TOKEN"), token


async def test_without_a_token_the_answer_says_what_to_send(api: Api) -> None:
    response = await api.client.get(ME)
    assert response.status_code == 401
    assert "Authorization: Bearer" in response.json()["error"]


async def test_an_api_key_is_not_an_access_token(api: Api, ada: Account) -> None:
    key = await api.key(ada)
    response = await api.client.get(ME, headers={"Authorization": f"Bearer {key['key']}"})
    assert response.status_code == 401
    assert "API key" in response.json()["error"]
