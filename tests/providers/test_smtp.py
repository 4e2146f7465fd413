"""SMTP: the mail that arrives, the login, the pool, and each row of the reply table."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import pytest

from backend.providers.frame.errors import (
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.network import tls_context
from backend.providers.frame.provider import OutboundMessage
from backend.providers.frame.registry import parse_credentials
from backend.providers.smtp import SmtpCredentials, SmtpProvider
from tests.providers.conftest import MakeProvider
from tests.providers.fakes import FakeSmtp, SmtpFaultServer

Message = Callable[..., OutboundMessage]
TO = "ada@example.com"


@pytest.fixture
async def fake() -> AsyncIterator[FakeSmtp]:
    async with FakeSmtp(username="clinic@example.com", password="password-4711") as server:
        yield server


def credentials(port: int, **changes: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "username": "clinic@example.com",
        "password": "password-4711",
        "fromName": "Harbour Clinic",
        **changes,
    }


async def refused(provider: Any, message: OutboundMessage) -> SendError:
    with pytest.raises(SendError) as caught:
        await provider.send(message)
    return caught.value


async def test_a_mail_arrives_with_its_headers_and_both_parts(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    smtp = make_provider("smtp", credentials(fake.port))
    accepted = await smtp.send(
        message(TO, "Grüße\n.\nEnd", subject="Ihr Termin: 9 Uhr ⛵", html="<p>Grüße</p>")
    )
    mail = fake.mails[0]
    assert (mail.sender, mail.recipients) == ("clinic@example.com", (TO,))
    assert mail.email["From"] == "Harbour Clinic <clinic@example.com>"
    assert mail.email["To"] == TO
    assert mail.email["Subject"] == "Ihr Termin: 9 Uhr ⛵"
    assert mail.email["Message-ID"] == "<msg_01h455vb4pex5vsknk084sn02q@example.com>"
    assert accepted.provider_message_id == mail.email["Message-ID"]
    assert accepted.answer == {"code": 250, "reply": "2.0.0 queued as 1"}
    assert mail.email["Date"].datetime <= datetime.now(UTC)
    text, html = (
        part.get_content().replace("\r\n", "\n").strip() for part in mail.email.iter_parts()
    )
    assert (text, html) == ("Grüße\n.\nEnd", "<p>Grüße</p>")


async def test_a_plain_mail_has_a_single_part_and_no_added_subject(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    await make_provider("smtp", credentials(fake.port)).send(message(TO))
    assert fake.mails[0].email.get_content_type() == "text/plain"
    assert fake.mails[0].email["Subject"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "Hi\r\nBcc: eve@example.com"},
        {"subject": "Hi\nX: y"},
        {"subject": "Hi\u2028X"},
        {"subject": "Hi\x0bX"},
        {"to": "ada@example.com\r\nBcc: eve@example.com"},
        {"id": "msg_1\r\nX: y"},
    ],
)
async def test_a_line_break_in_a_header_is_refused(
    fields: dict[str, str], fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    error = await refused(
        make_provider("smtp", credentials(fake.port)), message(**{"to": TO, **fields})
    )
    assert type(error) is Rejected
    assert fake.connections == 0


async def test_what_looks_like_an_encoded_word_arrives_as_it_is(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    text = "=?utf-8?q?=0d=0aBcc:z=0d=0a=0d=0aWin?="
    await make_provider("smtp", credentials(fake.port, fromName=text)).send(
        message(TO, "Text.", subject=text)
    )
    plain = message_from_bytes(fake.mails[0].raw)
    assert plain["Bcc"] is None
    assert str(plain.get_payload()).strip() == "Text."
    for header in ("Subject", "From"):
        assert text in str(make_header(decode_header(plain[header])))


async def test_what_cannot_be_written_as_a_mail_is_refused_and_never_uncertain(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    smtp = make_provider("smtp", credentials(fake.port))
    for fields in (
        {"text": "\ud800"},
        {"subject": "\ud800"},
        {"html": "\udfff"},
        {"to": "\ud800@example.com"},
    ):
        assert type(await refused(smtp, message(**{"to": TO, **fields}))) is Rejected
    await smtp.send(message(TO))
    assert len(fake.mails) == 1


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("421 4.3.2 closing", Unavailable),
        ("450 4.2.0 greylisted", Unavailable),
        ("451 4.3.0 local error", Unavailable),
        ("452 4.2.2 full", Unavailable),
        ("454 4.7.0 too fast", Throttled),
        ("455 4.0.0 later", Unavailable),
        ("530 5.7.0 authentication required", Unauthorized),
        ("535 5.7.8 bad credentials", Unauthorized),
        ("550 5.1.1 no such user", Rejected),
        ("552 5.2.2 too big", Rejected),
        ("554 5.7.1 spam", Rejected),
    ],
)
async def test_each_reply_has_its_outcome(
    stage: str,
    reply: str,
    expected: type[SendError],
    fake: FakeSmtp,
    make_provider: MakeProvider,
    message: Message,
) -> None:
    smtp = make_provider("smtp", credentials(fake.port))
    fake.refuse[stage] = reply
    error = await refused(smtp, message(TO))
    assert type(error) is expected
    assert error.code == reply[:3]
    assert reply[4:] in error.reason
    if isinstance(error, Rejected):
        assert error.suppress is ("5.1.1" in reply)
    fake.refuse.clear()
    await smtp.send(message(TO))
    assert len(fake.mails) == 1


async def test_a_wrong_password_is_the_connectors_fault(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    smtp = make_provider("smtp", credentials(fake.port, password="wrong-password"))
    error = await refused(smtp, message(TO))
    assert type(error) is Unauthorized
    assert error.code == "535"
    with pytest.raises(Unauthorized):
        await smtp.validate()


async def test_connections_are_reused_and_bounded(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    smtp = make_provider("smtp", credentials(fake.port))
    await asyncio.gather(*(smtp.send(message(TO)) for _ in range(60)))
    assert len(fake.mails) == 60
    assert fake.connections <= 8
    assert fake.logins <= 8


async def test_a_connection_the_server_dropped_costs_no_message(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    smtp = make_provider("smtp", credentials(fake.port))
    await smtp.send(message(TO))
    fake.drop_connections()
    await smtp.send(message(TO))  # at once, before the pool notices that it is closed
    await smtp.send(message(TO))
    fake.drop_connections()
    await asyncio.sleep(0.05)
    await smtp.send(message(TO))
    assert len(fake.mails) == 4


async def test_an_idle_connection_is_asked_before_it_is_used(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    smtp = make_provider("smtp", credentials(fake.port))
    await smtp.send(message(TO))
    await asyncio.sleep(1.1)  # fresh for 1 s
    fake.refuse["NOOP"] = "421 4.3.2 idle too long"
    await smtp.send(message(TO))
    assert (len(fake.mails), fake.connections) == (2, 2)


async def test_closing_says_goodbye(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    smtp = make_provider("smtp", credentials(fake.port))
    await smtp.send(message(TO))
    await smtp.aclose()
    await asyncio.sleep(0.05)
    assert all(session.transport is None for session in fake._sessions)


async def test_a_server_that_hangs_before_the_message_is_safe_to_repeat(
    make_provider: MakeProvider, message: Message
) -> None:
    is_over = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        provider = make_provider("smtp", credentials(port), timeout_s=0.3)
        async with asyncio.timeout(30):
            assert type(await refused(provider, message(TO))) is Unavailable
        is_over.set()


async def test_a_cut_after_the_text_is_uncertain_and_closes_the_connection(
    make_provider: MakeProvider, message: Message
) -> None:
    async with SmtpFaultServer("read_then_reset") as server:
        smtp = make_provider("smtp", credentials(server.port))
        assert type(await refused(smtp, message(TO))) is OutcomeUnknown
        assert type(await refused(smtp, message(TO))) is OutcomeUnknown
        assert (len(server.data), server.connections) == (2, 2)


async def test_a_cancelled_send_does_not_leave_its_connection_to_the_next(
    make_provider: MakeProvider, message: Message
) -> None:
    async with FakeSmtp(latency_s=0.5) as slow:
        smtp = make_provider(
            "smtp", credentials(slow.port, username="", password="", fromAddress="a@example.com")
        )
        task = asyncio.create_task(smtp.send(message(TO)))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        slow.latency_s = 0
        accepted = await smtp.send(message(TO, id="msg_2"))
        assert accepted.provider_message_id == "<msg_2@example.com>"
        assert slow.connections == 2


async def test_private_hosts_need_the_administrators_permission(
    fake: FakeSmtp, make_provider: MakeProvider, message: Message
) -> None:
    for changes in ({}, {"security": "starttls"}, {"security": "tls", "host": "localhost"}):
        smtp = make_provider("smtp", credentials(fake.port, **changes), allow_private_network=False)
        error = await refused(smtp, message(TO))
        assert type(error) is Unauthorized
        assert "ALLOW_PRIVATE_NETWORK" in error.reason
    assert fake.connections == 0


async def test_the_check_logs_in_and_names_the_account(
    fake: FakeSmtp, make_provider: MakeProvider
) -> None:
    health = await make_provider("smtp", credentials(fake.port)).validate()
    assert health.message.startswith(
        f"Connected to 127.0.0.1:{fake.port} as 'clinic@example.com'; it answered in "
    )
    assert fake.logins == 1


async def test_starttls_that_is_not_offered_is_the_connectors_fault(
    make_provider: MakeProvider, message: Message
) -> None:
    async with FakeSmtp() as plain:
        smtp = make_provider("smtp", credentials(plain.port, security="starttls"))
        error = await refused(smtp, message(TO))
        assert type(error) is Unauthorized
        assert "STARTTLS" in error.reason
        assert plain.mails == []


async def test_starttls_protects_the_login(
    server_tls: tuple[ssl.SSLContext, Path],
    make_provider: MakeProvider,
    message: Message,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, certificate = server_tls
    async with FakeSmtp(
        username="clinic@example.com", password="password-4711", tls=context
    ) as server:
        secured = credentials(server.port, security="starttls", host="localhost")
        error = await refused(make_provider("smtp", secured), message(TO))
        assert type(error) is Unavailable
        assert "certificate" in error.reason
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        tls_context.cache_clear()
        try:
            await make_provider("smtp", secured).send(message(TO))
            by_address = make_provider("smtp", {**secured, "host": "127.0.0.1"})
            assert (
                type(await refused(by_address, message(TO))) is Unavailable
            )  # the name is checked too
        finally:
            tls_context.cache_clear()
        assert len(server.mails) == 1


async def test_an_address_outside_ascii_needs_smtputf8(
    make_provider: MakeProvider, message: Message
) -> None:
    async with FakeSmtp() as modern:
        smtp = make_provider(
            "smtp", credentials(modern.port, username="", password="", fromAddress="a@example.com")
        )
        await smtp.send(message(smtp.validate_recipient("grüße@example.com")))
        assert modern.mails[0].recipients == ("grüße@example.com",)
    async with SmtpFaultServer("garbage") as old:
        smtp = make_provider(
            "smtp", credentials(old.port, username="", password="", fromAddress="a@example.com")
        )
        assert type(await refused(smtp, message("grüße@example.com"))) is Rejected
        assert old.data == []


@pytest.mark.parametrize("host", ["..", "a" * 64, f"{'a' * 64}.example.com"])
async def test_a_host_stored_before_it_was_checked_is_unreachable_not_uncertain(
    host: str, make_provider: MakeProvider, message: Message
) -> None:
    stored = parse_credentials("smtp", credentials(25)).model_copy(update={"host": host})
    assert isinstance(stored, SmtpCredentials)
    smtp = SmtpProvider(stored, make_provider("smtp", credentials(25)).context)
    assert type(await refused(smtp, message(TO))) is Unavailable
    with pytest.raises(Unavailable):
        await smtp.validate()
