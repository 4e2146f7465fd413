"""Passwords changed and forgotten, addresses confirmed, log-ins looked through: by real mail."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlmodel import col, update
from structlog.testing import capture_logs

from backend import ids
from backend.ids import new_id
from backend.models import AccountToken, AuthSession, User
from backend.models.base import utc_now
from backend.settings import Settings
from tests.api.accounts import PASSWORD, Account, Api
from tests.api.apps import another_api
from tests.providers.fakes._smtp import FakeSmtp

AUTH = "/api/v1/auth"
NEW = "a new correct horse"


@dataclass
class Mailing:
    """A server with mail, and the mail server."""

    api: Api
    smtp: FakeSmtp

    async def link(self, email: str, page: str) -> str:
        """Return the token of the last mail to this address with a link to `page`."""
        await self.api.platform.mail.idle()
        for mail in reversed(self.smtp.mails):
            result = re.search(rf"http://\S+/{page}\?token=(\S+)", mail.email.get_content())
            if mail.recipients == (email,) and result is not None:
                return result[1]
        raise AssertionError(f"no mail with a link to {page}")


@pytest.fixture
async def mailing(settings: Settings) -> AsyncIterator[Mailing]:
    async with FakeSmtp() as smtp:
        url = f"smtp://{smtp.host}:{smtp.port}?from=hello@example.com&security=none"
        async with another_api(settings, platform_smtp_url=SecretStr(url)) as api:
            yield Mailing(api, smtp)


async def log_in(api: Api, email: str, password: str) -> int:
    async with api.from_address(f"2001:db8:{new_id().hex[-4:]}::1") as client:
        return (
            await client.post(f"{AUTH}/login", json={"email": email, "password": password})
        ).status_code


async def log_in_again(api: Api, account: Account) -> Account:
    body = {"email": account.email, "password": account.password}
    answer = (await api.client.post(f"{AUTH}/login", json=body)).json()
    return Account(
        account.email,
        account.password,
        account.user_id,
        account.project_id,
        answer["token"],
        answer["refreshToken"],
    )


async def test_a_changed_password_ends_the_other_log_ins(api: Api) -> None:
    account = await api.register()
    other = await log_in_again(api, account)
    body = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert (await api.post(account, f"{AUTH}/password", body)).status_code == 204
    assert (await api.get(account, f"{AUTH}/me")).status_code == 200
    assert (await api.get(other, f"{AUTH}/me")).status_code == 401
    refreshed = await api.client.post(f"{AUTH}/refresh", json={"refreshToken": other.refresh_token})
    assert refreshed.status_code == 401
    assert await log_in(api, account.email, PASSWORD) == 401
    assert await log_in(api, account.email, NEW) == 200


async def test_changing_the_password_needs_the_current_one_and_counts_guesses(api: Api) -> None:
    account = await api.register()
    body = {"currentPassword": "a guess of mine", "newPassword": NEW}
    answers = [(await api.post(account, f"{AUTH}/password", body)).status_code for _ in range(11)]
    assert answers == [401] * 10 + [429]
    async with api.platform.database.session() as session:
        user = await User.find_by_email(session, account.email)
    assert user is not None
    assert user.is_active


async def test_a_stranger_who_guesses_keeps_nobody_from_the_account(api: Api) -> None:
    account = await api.register()
    async with api.from_address(f"2001:db8:{new_id().hex[-4:]}::1") as stranger:
        wrong = {"email": account.email, "password": "a guess of theirs"}
        statuses = [
            (await stranger.post(f"{AUTH}/login", json=wrong)).status_code for _ in range(12)
        ]
    assert statuses == [401] * 10 + [429] * 2
    assert await log_in(api, account.email, PASSWORD) == 200
    body = {"currentPassword": PASSWORD, "newPassword": NEW}
    assert (await api.post(account, f"{AUTH}/password", body)).status_code == 204


async def test_a_forgotten_password_is_replaced_by_the_mailed_link_once(mailing: Mailing) -> None:
    api = mailing.api
    account = await api.register()
    answer = await api.client.post(f"{AUTH}/password-reset", json={"email": account.email.upper()})
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    token = await mailing.link(account.email, "reset-password")
    confirm = {"token": token, "password": NEW}
    assert (
        await api.client.post(f"{AUTH}/password-reset/confirm", json=confirm)
    ).status_code == 204
    assert (await api.get(account, f"{AUTH}/me")).status_code == 401
    assert await log_in(api, account.email, NEW) == 200
    again = await api.client.post(f"{AUTH}/password-reset/confirm", json=confirm)
    assert (again.status_code, again.json()["code"]) == (400, "INVALID_LINK")


async def test_an_unknown_address_gets_the_same_answer_and_no_mail(mailing: Mailing) -> None:
    email = f"{new_id()}@example.com"
    answer = await mailing.api.client.post(f"{AUTH}/password-reset", json={"email": email})
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    await mailing.api.platform.mail.idle()
    assert mailing.smtp.mails == []


async def test_the_answer_does_not_wait_for_the_mail_server(mailing: Mailing) -> None:
    account = await mailing.api.register()
    await mailing.api.platform.mail.idle()
    mailing.smtp.latency_s = 0.5
    before = len(mailing.smtp.mails)
    answer = await mailing.api.client.post(f"{AUTH}/password-reset", json={"email": account.email})
    assert answer.status_code == 202
    assert len(mailing.smtp.mails) == before  # nothing was sent in the request's time
    assert await mailing.link(account.email, "reset-password")


async def test_a_link_that_is_old_or_for_something_else_is_refused(mailing: Mailing) -> None:
    api = mailing.api
    account = await api.register()
    confirmation = await mailing.link(account.email, "confirm-email")
    await api.client.post(f"{AUTH}/password-reset", json={"email": account.email})
    reset = await mailing.link(account.email, "reset-password")
    user_id = ids.decode(ids.USER, account.user_id)
    async with api.platform.database.transaction() as session:
        past = utc_now() - timedelta(seconds=1)
        expired = update(AccountToken).where(
            col(AccountToken.user_id) == user_id, col(AccountToken.purpose) == "password_reset"
        )
        await session.exec(expired.values(expires_at=past))
    for token in (reset, confirmation, "pr_made_up"):
        answer = await api.client.post(
            f"{AUTH}/password-reset/confirm", json={"token": token, "password": NEW}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_LINK")
    assert await log_in(api, account.email, PASSWORD) == 200


async def test_registering_mails_a_link_that_confirms_the_address(mailing: Mailing) -> None:
    api = mailing.api
    account = await api.register()
    first = await mailing.link(account.email, "confirm-email")
    assert (await api.post(account, f"{AUTH}/email-confirmation")).status_code == 202
    second = await mailing.link(account.email, "confirm-email")
    assert first != second
    path = f"{AUTH}/email-confirmation/confirm"
    assert [
        (await api.client.post(path, json={"token": item})).status_code for item in (second, first)
    ] == [204, 400]
    async with api.platform.database.session() as session:
        user = await User.find_by_email(session, account.email)
    assert user is not None
    assert user.email_confirmed_at is not None
    sent = len(mailing.smtp.mails)
    await api.post(account, f"{AUTH}/email-confirmation")
    await api.platform.mail.idle()
    assert len(mailing.smtp.mails) == sent  # there is nothing left to confirm


async def test_an_address_gets_only_so_many_mails(mailing: Mailing) -> None:
    email = f"{new_id()}@example.com"
    async with mailing.api.from_address(f"2001:db8:{new_id().hex[-4:]}::1") as client:
        body = {"email": email}
        answers = [
            (await client.post(f"{AUTH}/password-reset", json=body)).status_code for _ in range(6)
        ]
    assert answers == [202] * 5 + [429]


async def test_without_a_mail_server_the_link_is_in_the_log(api: Api) -> None:
    account = await api.register()
    assert (await api.client.get("/api/v1/instance")).json()["mailEnabled"] is False
    with capture_logs() as logs:
        await api.client.post(f"{AUTH}/password-reset", json={"email": account.email})
        await api.platform.mail.idle()
    links = [
        entry["link"]
        for entry in logs
        if entry["event"] == "mail.not_set" and entry["mail"] == "password_reset"
    ]
    assert len(links) == 1
    token = links[0].partition("token=")[2]
    confirm = {"token": token, "password": NEW}
    assert (
        await api.client.post(f"{AUTH}/password-reset/confirm", json=confirm)
    ).status_code == 204


async def test_log_ins_are_listed_and_ended_one_by_one(api: Api) -> None:
    account = await api.register()
    other = await log_in_again(api, account)
    body = (await api.get(account, f"{AUTH}/sessions")).json()
    assert [session["isCurrent"] for session in body["sessions"]] == [False, True]
    assert body["pagination"]["total"] == 2
    assert body["sessions"][0]["address"] == "127.0.0.1"
    path = f"{AUTH}/sessions/{body['sessions'][0]['id']}"
    stranger = await api.register()
    assert (await api.delete(stranger, path)).json()["code"] == "SESSION_NOT_FOUND"
    assert (await api.get(other, f"{AUTH}/me")).status_code == 200
    assert (await api.delete(account, path)).status_code == 204
    assert (await api.get(other, f"{AUTH}/me")).status_code == 401
    assert (await api.delete(account, path)).status_code == 404


async def test_the_refresh_alias_of_the_other_reference_works(api: Api) -> None:
    account = await api.register()
    answer = await api.client.post(
        f"{AUTH}/refresh-token", json={"refreshToken": account.refresh_token}
    )
    assert answer.status_code == 200
    assert answer.json().keys() == {"user", "token", "refreshToken"}


async def test_when_a_log_in_was_seen_is_kept_to_the_minute(api: Api) -> None:
    account = await api.register()
    user_id = ids.decode(ids.USER, account.user_id)

    async def seen() -> AuthSession:
        async with api.platform.database.session() as session:
            assert user_id is not None
            return (await AuthSession.list_for_user(session, user_id))[0]

    first = await seen()
    await api.get(account, f"{AUTH}/me")
    assert (await seen()).last_seen_at == first.last_seen_at  # seen less than a minute ago
    async with api.platform.database.transaction() as session:
        an_hour_ago = utc_now() - timedelta(hours=1)
        await session.exec(
            update(AuthSession)
            .where(col(AuthSession.id) == first.id)
            .values(last_seen_at=an_hour_ago)
        )
    await api.get(account, f"{AUTH}/me")
    assert utc_now() - (await seen()).last_seen_at < timedelta(minutes=1)
