"""Twilio: the request the package makes through our client, and each row of the error table."""

from __future__ import annotations

import base64
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
from backend.providers.frame.provider import OutboundMessage
from backend.providers.frame.registry import parse_credentials
from backend.providers.twilio import TwilioProvider
from tests.providers.conftest import MakeProvider
from tests.providers.fakes import FakeTwilio

Message = Callable[..., OutboundMessage]
CREDENTIALS = {"accountSid": "AC42", "authToken": "secret", "fromNumber": "+14155550100"}

ROWS: dict[type[SendError], list[int]] = {
    Throttled: [20429, 63018, 30001],
    Unavailable: [30003, 30008],
    Rejected: [
        21211, 21408, 21608, 21610, 21612, 21614, 21635, 30004, 30005, 30006, 30007, 30034, 30450,
        63016,
    ],
    Unauthorized: [20003, 30002, 20404],
}  # fmt: skip


@pytest.fixture
async def fake() -> AsyncIterator[FakeTwilio]:
    async with FakeTwilio() as server:
        yield server


@pytest.fixture
def twilio(fake: FakeTwilio, make_provider: MakeProvider) -> TwilioProvider:
    provider = make_provider("twilio", CREDENTIALS, fake.base_url)
    assert isinstance(provider, TwilioProvider)
    return provider


async def refused(twilio: TwilioProvider, message: OutboundMessage) -> SendError:
    with pytest.raises(SendError) as caught:
        await twilio.send(message)
    return caught.value


async def test_a_text_is_sent(fake: FakeTwilio, twilio: TwilioProvider, message: Message) -> None:
    accepted = await twilio.send(message(text="Grüße & more"))
    assert accepted.provider_message_id == f"SM{1:032d}"
    assert accepted.answer == {"status": "queued", "segments": "1"}
    sent = fake.received[0]
    assert (sent.method, sent.path) == ("POST", "/2010-04-01/Accounts/AC42/Messages.json")
    assert sent.headers["Authorization"] == "Basic " + base64.b64encode(b"AC42:secret").decode()
    assert sent.body == {"To": "+14155550123", "From": "+14155550100", "Body": "Grüße & more"}


async def test_a_messaging_service_takes_precedence_over_the_number(
    fake: FakeTwilio, make_provider: MakeProvider, message: Message
) -> None:
    twilio = make_provider("twilio", {**CREDENTIALS, "messagingServiceSid": "MG7"}, fake.base_url)
    await twilio.send(message())
    assert fake.received[0].body["MessagingServiceSid"] == "MG7"
    assert "From" not in fake.received[0].body


async def test_the_environment_of_the_process_changes_nothing(
    fake: FakeTwilio, make_provider: MakeProvider, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package would take its region and edge from these and call another host."""
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    await make_provider("twilio", CREDENTIALS, fake.base_url).send(message())
    assert len(fake.messages) == 1


@pytest.mark.parametrize(
    ("code", "expected"), [(code, kind) for kind, codes in ROWS.items() for code in codes]
)
async def test_the_code_decides(
    code: int, expected: type[SendError], fake: FakeTwilio, twilio: TwilioProvider, message: Message
) -> None:
    fake.refuse_once(code, "No.", status=400)
    error = await refused(twilio, message())
    assert type(error) is expected
    assert (error.code, error.reason) == (str(code), "No.")
    if isinstance(error, Rejected):
        assert error.suppress is (code == 21610)  # STOP


async def test_the_status_decides_an_unknown_code(
    fake: FakeTwilio, twilio: TwilioProvider, message: Message
) -> None:
    for status, expected in (
        (400, Rejected),
        (401, Unauthorized),
        (500, OutcomeUnknown),
        (503, Unavailable),
    ):
        fake.refuse_once(99999, status=status)
        assert type(await refused(twilio, message())) is expected


async def test_the_delay_of_a_429_is_twilios(
    fake: FakeTwilio, twilio: TwilioProvider, message: Message
) -> None:
    fake.reply_once(
        429, {"code": 20429, "message": "Too many", "status": 429}, {"Retry-After": "3"}
    )
    error = await refused(twilio, message())
    assert isinstance(error, Throttled)
    assert error.retry_after_s == 3


async def test_an_answer_the_package_cannot_read_is_uncertain(
    fake: FakeTwilio, twilio: TwilioProvider, message: Message
) -> None:
    bodies: list[dict[str, Any]] = [{}, {"sid": 5}, {"sid": "SM1", "date_created": 5}]
    for body in bodies:
        fake.reply_once(201, body)
        assert type(await refused(twilio, message())) is OutcomeUnknown


async def test_the_check_names_the_account(fake: FakeTwilio, twilio: TwilioProvider) -> None:
    health = await twilio.validate()
    assert health.message.startswith("Connected to Twilio: account 'Harbour Clinic' answered in ")
    assert fake.received[0].path == "/2010-04-01/Accounts/AC42.json"
    fake.reply_once(200, {"sid": "AC42", "friendly_name": "Harbour Clinic", "status": "suspended"})
    with pytest.raises(Unauthorized, match="suspended"):
        await twilio.validate()
    fake.refuse_once(20003, "Authenticate", status=401)
    with pytest.raises(Unauthorized):
        await twilio.validate()


@pytest.mark.parametrize("sender", ["+14155550100", "14155550100", "12345", "HARBOUR", "My Clinic"])
def test_a_sender_is_a_number_or_a_name(sender: str) -> None:
    parse_credentials("twilio", {**CREDENTIALS, "fromNumber": sender})


@pytest.mark.parametrize("sender", ["+", "12", "far too long a name", "a\r\nb"])
def test_what_is_not_a_sender_is_refused(sender: str) -> None:
    with pytest.raises(ValueError, match="fromNumber"):
        parse_credentials("twilio", {**CREDENTIALS, "fromNumber": sender})


def test_a_sender_is_needed() -> None:
    with pytest.raises(ValueError, match="fromNumber or messagingServiceSid is needed"):
        parse_credentials("twilio", {"accountSid": "AC42", "authToken": "secret"})
