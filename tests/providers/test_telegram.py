"""Telegram: the request it makes, and each row of its error table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from backend.providers.frame.errors import (
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.provider import OutboundMessage
from backend.providers.frame.registry import parse_credentials
from backend.providers.telegram import TelegramProvider
from tests.providers.conftest import MakeProvider
from tests.providers.fakes import FakeTelegram

Message = Callable[..., OutboundMessage]
TOKEN = "123456:ABC-DEF1234"


@pytest.fixture
async def fake() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as server:
        yield server


@pytest.fixture
def telegram(fake: FakeTelegram, make_provider: MakeProvider) -> TelegramProvider:
    provider = make_provider("telegram", {"botToken": TOKEN}, fake.base_url)
    assert isinstance(provider, TelegramProvider)
    return provider


async def test_a_text_is_sent(
    fake: FakeTelegram, telegram: TelegramProvider, message: Message
) -> None:
    accepted = await telegram.send(message(to="-100123", text="Grüße\n🚢"))
    assert (accepted.provider_message_id, accepted.status) == ("1", "sent")
    assert fake.received[0].path == f"/bot{TOKEN}/sendMessage"
    assert fake.received[0].body == {"chat_id": -100123, "text": "Grüße\n🚢"}
    await telegram.send(message(to="@harbour"))
    assert fake.received[1].body["chat_id"] == "@harbour"


@pytest.mark.parametrize(
    ("code", "description", "expected", "suppress"),
    [
        (400, "Bad Request: chat not found", Rejected, True),
        (400, "Bad Request: message text is empty", Rejected, False),
        (401, "Unauthorized", Unauthorized, None),
        (403, "Forbidden: bot was blocked by the user", Rejected, True),
        (403, "Forbidden: user is deactivated", Rejected, True),
        (403, "Forbidden: bot can't initiate conversation with a user", Rejected, True),
        (404, "Not Found", Unauthorized, None),
        (429, "Too Many Requests: retry after 11", Throttled, None),
        (500, "Internal Server Error", OutcomeUnknown, None),
        (502, "Bad Gateway", OutcomeUnknown, None),
        (503, "Service Unavailable", Unavailable, None),
    ],
)
async def test_each_refusal_has_its_outcome(
    code: int,
    description: str,
    expected: type[SendError],
    suppress: bool | None,
    fake: FakeTelegram,
    telegram: TelegramProvider,
    message: Message,
) -> None:
    fake.refuse_once(code, description)
    with pytest.raises(SendError) as caught:
        await telegram.send(message(to="42"))
    assert type(caught.value) is expected
    assert (caught.value.code, caught.value.reason) == (str(code), description)
    if isinstance(caught.value, Rejected):
        assert caught.value.suppress is suppress
    assert fake.count == 1


async def test_the_delay_of_a_429_is_telegrams(
    fake: FakeTelegram, telegram: TelegramProvider, message: Message
) -> None:
    fake.refuse_once(429, "Too Many Requests: retry after 11", retry_after=11)
    with pytest.raises(Throttled) as caught:
        await telegram.send(message(to="42"))
    assert caught.value.retry_after_s == 11


async def test_a_group_that_became_a_supergroup_is_followed_once(
    fake: FakeTelegram, telegram: TelegramProvider, message: Message
) -> None:
    fake.refuse_once(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1009)
    accepted = await telegram.send(message(to="-9"))
    assert [request.body["chat_id"] for request in fake.received] == [-9, -1009]
    assert accepted.answer == {"migratedToChatId": "-1009"}
    for _ in range(2):
        fake.refuse_once(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-1009)
    with pytest.raises(Rejected):
        await telegram.send(message(to="-9"))
    assert fake.count == 4


async def test_an_ok_without_an_id_is_uncertain(
    fake: FakeTelegram, telegram: TelegramProvider, message: Message
) -> None:
    fake.reply_once(200, {"ok": True, "result": True})
    with pytest.raises(OutcomeUnknown):
        await telegram.send(message(to="42"))


async def test_the_check_names_the_bot(fake: FakeTelegram, telegram: TelegramProvider) -> None:
    health = await telegram.validate()
    assert health.connected
    assert health.message.startswith("Connected to Telegram: bot '@harbour_bot' answered in ")
    fake.refuse_once(401, "Unauthorized")
    with pytest.raises(Unauthorized):
        await telegram.validate()
    fake.reply_once(502, b"<html>")
    with pytest.raises(Unavailable):
        await telegram.validate()


def test_a_webhook_secret_is_made_and_kept() -> None:
    first, second = (
        parse_credentials("telegram", {"botToken": TOKEN, "webhookSecret": ""}) for _ in range(2)
    )
    assert first.secret_values()[1] != second.secret_values()[1]
    assert len(first.secret_values()[1]) == 32
    given = parse_credentials("telegram", {"botToken": TOKEN, "webhookSecret": "harbour"})
    assert given.secret_values()[1] == "harbour"


@pytest.mark.parametrize(
    "token", ["nonsense", "987654", "123456:a b", "123456:a/../x", "123456:a\nb", "a:b"]
)
def test_what_is_not_a_token_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(ValueError, match="botToken") as caught:
        parse_credentials("telegram", {"botToken": token})
    assert token not in str(caught.value)
