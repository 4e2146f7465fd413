"""The platform's own mail server: how its URL is read, and what happens while it is away."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr, ValidationError

from backend.providers.frame.http import open_http_client
from backend.providers.frame.provider import ProviderContext
from backend.services.accounts.mail import Mail, PlatformMail, credentials_of
from backend.settings import Settings
from tests.providers.fakes._smtp import FakeSmtp

MAIL = Mail("test", "ada@example.com", "Subject", "Text with http://link", "http://link")


@pytest.fixture
async def context() -> AsyncIterator[ProviderContext]:
    client = open_http_client(limit=2)
    yield ProviderContext(http=client, base_urls={}, timeout_s=2.0)
    await client.aclose()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "smtp://ada%40example.com:p%3Aw@mail.example.com",
            {
                "port": 587,
                "security": "starttls",
                "username": "ada@example.com",
                "password": "p:w",
                "fromAddress": "ada@example.com",
            },
        ),
        (
            "smtps://mail.example.com?from=hello@example.com",
            {"port": 465, "security": "tls", "username": None, "fromAddress": "hello@example.com"},
        ),
        (
            "smtp://mail:25?security=none",
            {"port": 25, "security": "none", "fromAddress": "messagejs@mail"},
        ),
        ("smtp://mail.example.com:2525?name=Clinic", {"port": 2525, "fromName": "Clinic"}),
    ],
)
def test_the_url_says_host_login_security_and_sender(url: str, expected: dict[str, object]) -> None:
    assert credentials_of(url).items() >= expected.items()


@pytest.mark.parametrize("url", ["http://mail.example.com", "mail.example.com", "smtp://"])
def test_what_is_no_mail_servers_url_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError, match="smtp://user"):
        Settings(platform_smtp_url=SecretStr(url))


async def test_a_mail_is_sent_again_while_the_server_is_away(context: ProviderContext) -> None:
    async with FakeSmtp() as smtp:
        url = SecretStr(f"smtp://{smtp.host}:{smtp.port}?security=none&from=hello@example.com")
        mail = PlatformMail(Settings(platform_smtp_url=url), context, retry_after_s=(0.01, 0.01))
        smtp.refuse["MAIL"] = "451 4.3.0 later"
        await mail.send(MAIL)
        assert smtp.mails == []
        del smtp.refuse["MAIL"]
        await mail.send(MAIL)
        await mail.aclose()
    assert smtp.mails[0].recipients == ("ada@example.com",)
    assert smtp.mails[0].email["Subject"] == "Subject"


async def test_what_still_waits_is_sent_before_the_process_ends(context: ProviderContext) -> None:
    async with FakeSmtp(latency_s=0.1) as smtp:
        url = SecretStr(f"smtp://{smtp.host}:{smtp.port}?security=none&from=hello@example.com")
        mail = PlatformMail(Settings(platform_smtp_url=url), context)
        mail.post(MAIL)
        await mail.aclose()
    assert len(smtp.mails) == 1
