"""The platform's own mails: nobody makes them say, link or become something else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email import message_from_bytes

import pytest
from pydantic import SecretStr

from backend.ids import new_id
from backend.models.base import utc_now
from backend.services.accounts.mail import shown
from backend.settings import Settings
from tests.api.accounts import PASSWORD, Account, Api
from tests.api.apps import another_api, user_of
from tests.providers.fakes import FakeSmtp


class Mailing:
    """A server with mail, and the mail server."""

    def __init__(self, api: Api, smtp: FakeSmtp) -> None:
        self.api = api
        self.smtp = smtp

    async def invitation(self, inviter: Account, project_id: str) -> str:
        """Return the text of the mail that an invitation sends."""
        body = {"email": f"{new_id()}@example.com", "role": "viewer"}
        created = await self.api.post(inviter, f"/api/v1/projects/{project_id}/invitations", body)
        assert created.status_code == 201, created.text
        await self.api.platform.mail.idle()
        mail = next(mail for mail in self.smtp.mails if mail.recipients == (body["email"],))
        text: str = mail.email.get_content()
        return text


@pytest.fixture
async def mailing(settings: Settings) -> AsyncIterator[Mailing]:
    async with FakeSmtp() as smtp:
        url = f"smtp://{smtp.host}:{smtp.port}?from=hello@example.com&security=none"
        async with another_api(settings, platform_smtp_url=SecretStr(url)) as api:
            yield Mailing(api, smtp)


@pytest.mark.parametrize(
    "name", ["a\nb", "a\r\nBcc: z@example.com", "a\tb", "a\x1bb", "a\u2028b", "a\u202egpj.exe"]
)
async def test_names_are_one_line(api: Api, name: str) -> None:
    account = await api.register()
    base = f"/api/v1/projects/{account.project_id}"
    sandbox = (await api.get(account, f"{base}/connectors")).json()["connectors"][0]["id"]
    register = {"email": f"{new_id()}@example.com", "password": PASSWORD, "name": name}
    for response in (
        await api.post(account, "/api/v1/projects", {"name": name}),
        await api.put(account, base, {"name": name}),
        await api.post(account, f"{base}/connectors", {"type": "sandbox", "name": name}),
        await api.put(account, f"{base}/connectors/{sandbox}", {"name": name}),
        await api.client.post("/api/v1/auth/register", json=register),
    ):
        assert (response.status_code, response.json()["code"]) == (
            400,
            "VALIDATION_ERROR",
        ), response.text
        assert response.json()["details"]["errors"][0]["field"] == "name"


async def test_an_invitation_makes_no_link_of_a_projects_name(mailing: Mailing) -> None:
    account = await mailing.api.register()
    name = (
        "Prize: https://evil.example/win www.evil.example ada@evil.example evil。example "
        + "x" * 150
    )
    text = await mailing.invitation(account, await mailing.api.project(account, name))
    assert text.count("://") == 1  # the invitation's own link
    assert "evil.example" not in text
    assert "evil。example" not in text
    assert "Prize: https: / / evil. example" in text
    assert "x" * 80 not in text


async def test_an_invitation_says_when_its_inviters_address_is_not_confirmed(
    mailing: Mailing,
) -> None:
    account = await mailing.api.register()
    text = await mailing.invitation(account, account.project_id)
    assert f"{account.email} (an address that is not confirmed)" in text
    await confirm(mailing.api, account)
    assert "not confirmed" not in await mailing.invitation(account, account.project_id)


async def test_who_has_not_confirmed_an_address_invites_few(mailing: Mailing) -> None:
    account = await mailing.api.register()
    path = f"/api/v1/projects/{account.project_id}/invitations"

    async def invite() -> int:
        body = {"email": f"{new_id()}@example.com", "role": "viewer"}
        return (await mailing.api.post(account, path, body)).status_code

    statuses = [await invite() for _ in range(11)]
    assert statuses == [201] * 10 + [429]
    await confirm(mailing.api, account)
    assert await invite() == 201


async def test_a_mail_that_looks_like_headers_is_only_text(mailing: Mailing) -> None:
    account = await mailing.api.register()
    await mailing.invitation(account, await mailing.api.project(account, "=?utf-8?q?=0d=0aBcc:z?="))
    plain = message_from_bytes(mailing.smtp.mails[-1].raw)
    assert plain.keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "Content-Type", "Content-Transfer-Encoding",
        "MIME-Version",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Harbour Clinic", "Harbour Clinic"),
        ("St. Mary & Sons, Inc.", "St. Mary & Sons, Inc."),
        ("acme.example", "acme. example"),
        ("http://acme", "http: / / acme"),
        ("a\r\n\r\nb", "a b"),
        ("e\u200bvil.example", "e vil. example"),
        ("x" * 200, "x" * 77 + "..."),
    ],
)
def test_a_name_is_shown_as_a_short_line_without_links(name: str, expected: str) -> None:
    assert shown(name) == expected


async def confirm(api: Api, account: Account) -> None:
    async with api.platform.database.transaction() as session:
        (await user_of(session, account)).email_confirmed_at = utc_now()
