"""WhatsApp: the requests it makes, and each row of its error table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
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
from backend.providers.frame.provider import OutboundMessage, ProviderTemplate
from backend.providers.whatsapp import WhatsAppProvider
from tests.providers.conftest import MakeProvider
from tests.providers.fakes import FakeWhatsApp

Message = Callable[..., OutboundMessage]

THROTTLED = [4, 80007, 130429, 131048, 131056]
RETRY = [1, 2, 131000, 131016, 131057]
REJECTED = [
    100, 131008, 131009, 131026, 131030, 131047, 131049, 131050, 131051, 131053, 130472, 132000,
    132001, 132005, 132007, 132012, 132015, 132016,
]  # fmt: skip
BROKEN = [0, 10, 190, 200, 250, 299, 368, 131031, 131042, 131045, 133010]


@pytest.fixture
async def fake() -> AsyncIterator[FakeWhatsApp]:
    async with FakeWhatsApp() as server:
        yield server


@pytest.fixture
def whatsapp(fake: FakeWhatsApp, make_provider: MakeProvider) -> WhatsAppProvider:
    provider = make_provider(
        "whatsapp", {"phoneNumberId": "123456789", "accessToken": "EAAG-secret"}, fake.base_url
    )
    assert isinstance(provider, WhatsAppProvider)
    return provider


async def refused(whatsapp: WhatsAppProvider, message: OutboundMessage) -> SendError:
    with pytest.raises(SendError) as caught:
        await whatsapp.send(message)
    return caught.value


async def test_a_text_is_sent(
    fake: FakeWhatsApp, whatsapp: WhatsAppProvider, message: Message
) -> None:
    accepted = await whatsapp.send(message(text="Grüße"))
    assert accepted.provider_message_id == "wamid.1"
    assert accepted.answer == {"messageStatus": "accepted"}
    sent = fake.received[0]
    assert (sent.method, sent.path) == ("POST", "/v23.0/123456789/messages")
    assert sent.headers["Authorization"] == "Bearer EAAG-secret"
    assert sent.body == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+14155550123",
        "type": "text",
        "text": {"body": "Grüße", "preview_url": False},
        "biz_opaque_callback_data": "msg_01h455vb4pex5vsknk084sn02q",
    }


async def test_a_template_is_sent(
    fake: FakeWhatsApp, whatsapp: WhatsAppProvider, message: Message
) -> None:
    await whatsapp.send(message(template=ProviderTemplate("welcome", "en_US", ("Ada", "nine"))))
    body = fake.received[0].body
    assert body["type"] == "template"
    assert "text" not in body
    assert body["template"] == {
        "name": "welcome",
        "language": {"code": "en_US"},
        "components": [
            {
                "type": "body",
                "parameters": [{"type": "text", "text": "Ada"}, {"type": "text", "text": "nine"}],
            }
        ],
    }
    await whatsapp.send(message(template=ProviderTemplate("plain", "de")))
    assert "components" not in fake.received[1].body["template"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [(code, Throttled) for code in THROTTLED]
    + [(code, Unavailable) for code in RETRY]
    + [(code, Rejected) for code in REJECTED]
    + [(code, Unauthorized) for code in BROKEN],
)
@pytest.mark.parametrize("status", [400, 500])
async def test_the_code_decides_whatever_the_status(
    status: int,
    code: int,
    expected: type[SendError],
    fake: FakeWhatsApp,
    whatsapp: WhatsAppProvider,
    message: Message,
) -> None:
    fake.refuse_once(code, f"(#{code}) No.", status=status, details="The details.")
    error = await refused(whatsapp, message())
    assert type(error) is expected
    assert (error.code, error.reason) == (str(code), "The details.")
    assert error.answer == {
        "httpStatus": status,
        "message": f"(#{code}) No.",
        "fbtraceId": "Atrace",
    }


async def test_a_pair_that_is_too_fast_slows_only_itself(
    fake: FakeWhatsApp, whatsapp: WhatsAppProvider, message: Message
) -> None:
    fake.refuse_once(131056)
    error = await refused(whatsapp, message())
    assert isinstance(error, Throttled)
    assert error.recipient_only
    assert (error.retry_after_s or 0) >= 6


async def test_an_opt_out_suppresses(
    fake: FakeWhatsApp, whatsapp: WhatsAppProvider, message: Message
) -> None:
    for code, suppress in ((131050, True), (131026, False)):
        fake.refuse_once(code)
        error = await refused(whatsapp, message())
        assert isinstance(error, Rejected)
        assert error.suppress is suppress


async def test_the_status_decides_an_unknown_code(
    fake: FakeWhatsApp, whatsapp: WhatsAppProvider, message: Message
) -> None:
    for status, expected in (
        (400, Rejected),
        (500, OutcomeUnknown),
        (503, Unavailable),
        (429, Throttled),
    ):
        fake.refuse_once(999999, status=status)
        assert type(await refused(whatsapp, message())) is expected


async def test_an_answer_without_an_id_is_uncertain(
    fake: FakeWhatsApp, whatsapp: WhatsAppProvider, message: Message
) -> None:
    bodies: list[dict[str, Any]] = [
        {},
        {"messages": []},
        {"messages": [{"id": 5}]},
        {"messages": "x"},
        {"error": "x"},
    ]
    for body in bodies:
        fake.reply_once(200, body)
        assert type(await refused(whatsapp, message())) is OutcomeUnknown


async def test_a_token_that_meta_repeats_is_hidden(
    fake: FakeWhatsApp, whatsapp: WhatsAppProvider, message: Message
) -> None:
    fake.refuse_once(190, "Malformed access token EAAG-secret")
    error = await refused(whatsapp, message())
    assert error.reason == "Malformed access token [hidden]"


async def test_the_check_names_the_account(fake: FakeWhatsApp, whatsapp: WhatsAppProvider) -> None:
    health = await whatsapp.validate()
    assert health.message.startswith(
        "Connected to WhatsApp Cloud API: account 'Harbour Clinic' answered in "
    )
    assert fake.received[0].path == "/v23.0/123456789"
    fake.refuse_once(100, "Object with ID '123456789' does not exist")
    with pytest.raises(Unauthorized, match="does not exist"):
        await whatsapp.validate()


def test_a_number_is_normalised() -> None:
    assert WhatsAppProvider.validate_recipient("14155550123") == "+14155550123"
