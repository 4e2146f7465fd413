"""Twilio's callbacks: the table of statuses, signatures over the URL, and what a send asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from backend import ids
from backend.providers.frame.errors import CallbackRefused, Unavailable
from backend.providers.frame.provider import OutboundMessage, Provider
from tests.providers.conftest import MakeProvider
from tests.providers.fakes import FakeTwilio, Reported, TwilioCallbacks

Message = Callable[..., OutboundMessage]
CREDENTIALS = {"accountSid": "AC42", "authToken": "secret", "fromNumber": "+14155550100"}
TWILIO = TwilioCallbacks("secret")
URL = "https://msg.example.com/api/v1/callbacks/conn_01h455vb4pex5vsknk084sn02q"


@pytest.fixture
async def fake() -> AsyncIterator[FakeTwilio]:
    async with FakeTwilio() as server:
        yield server


@pytest.fixture
def twilio(fake: FakeTwilio, make_provider: MakeProvider) -> Provider[Any]:
    return make_provider("twilio", CREDENTIALS, fake.base_url)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("accepted", None),
        ("scheduled", None),
        ("queued", None),
        ("sending", None),
        ("sent", "sent"),
        ("delivered", "delivered"),
        ("undelivered", "undelivered"),
        ("failed", "failed"),
        ("read", "read"),
        ("canceled", "failed"),
        ("partially_delivered", None),
        ("receiving", None),
        ("received", None),
    ],
)
def test_each_twilio_status_is_one_of_ours_or_not_a_receipt(
    twilio: Provider[Any], word: str, status: str | None
) -> None:
    receipts = twilio.parse_callback(TWILIO.request(Reported("SM1", word)))
    assert [receipt.status for receipt in receipts] == ([] if status is None else [status])


def test_a_stop_suppresses_and_a_failure_without_words_gets_some(twilio: Provider[Any]) -> None:
    (stop,) = twilio.parse_callback(TWILIO.request(Reported("SM1", "undelivered", code=21610)))
    assert (stop.suppress, stop.code, stop.reason) == (
        True,
        "21610",
        "Twilio reports 'undelivered'.",
    )
    (other,) = twilio.parse_callback(TWILIO.request(Reported("SM1", "undelivered", code=30005)))
    assert not other.suppress


def test_the_signature_is_that_of_the_url_twilio_called(twilio: Provider[Any]) -> None:
    """Behind a proxy the request itself has another scheme and host."""
    request = TWILIO.request(
        Reported("SM1", "delivered", message_id="msg_01h455vb4pex5vsknk084sn02q")
    )
    inside = "http://10.0.0.7:8000/api/v1/callbacks/conn_01h455vb4pex5vsknk084sn02q?message=x"
    twilio.verify_callback(replace(request, urls=(inside, *request.urls)))
    with_port = request.urls[0].replace("example.com/", "example.com:443/")
    twilio.verify_callback(replace(request, urls=(with_port,)))
    for urls in (
        (),
        (inside,),
        (request.urls[0].replace("message=", "other="),),
        ("https://[::1",),
        ("http://a:b/",),
    ):
        with pytest.raises(CallbackRefused):
            twilio.verify_callback(replace(request, urls=urls))


async def test_a_send_asks_for_receipts_where_the_server_is_reachable(
    fake: FakeTwilio, make_provider: MakeProvider, message: Message
) -> None:
    plain = make_provider("twilio", CREDENTIALS, fake.base_url)
    await plain.send(message())
    plain.context = replace(plain.context, callback_url=URL)
    await plain.send(message())
    assert "StatusCallback" not in fake.messages[0].body
    assert (
        fake.messages[1].body["StatusCallback"] == f"{URL}?message=msg_01h455vb4pex5vsknk084sn02q"
    )


def listed(**changes: Any) -> dict[str, Any]:
    now = format_datetime(datetime.now(UTC))
    record = {
        "sid": "SM7",
        "status": "sent",
        "direction": "outbound-api",
        "to": "+14155550123",
        "from": "+14155550100",
    }
    return {
        **record,
        "body": "The boat leaves at nine.",
        "date_created": now,
        "messaging_service_sid": None,
        **changes,
    }


async def asked(
    twilio: Provider[Any], fake: FakeTwilio, message: OutboundMessage, *record: Any
) -> str | None:
    fake.reply_once(200, {"messages": list(record), "next_page_uri": None, "page_size": 50})
    accepted = await twilio.find_sent(message)
    return None if accepted is None else accepted.provider_message_id


async def test_twilio_can_be_asked_what_happened_to_a_send(
    fake: FakeTwilio, twilio: Provider[Any], message: Message
) -> None:
    mine = message(id=ids.encode(ids.MESSAGE, ids.new_id()))
    assert await asked(twilio, fake, mine, listed()) == "SM7"
    query = fake.received[-1].query
    assert (fake.received[-1].method, query["To"], query["PageSize"]) == (
        "GET",
        "+14155550123",
        "50",
    )
    yesterday = format_datetime(datetime.now(UTC) - timedelta(days=1))
    others = [
        listed(body="Another text"),
        listed(**{"from": "+14155550199"}),
        listed(date_created=yesterday),
        listed(direction="inbound"),
        listed(status="failed"),
    ]
    assert await asked(twilio, fake, mine, *others) is None
    # Newest first, as Twilio lists: the match is what was made first after the message.
    assert await asked(twilio, fake, mine, listed(sid="SM9"), listed(sid="SM8"), *others) == "SM8"


async def test_a_messaging_service_identifies_its_messages(
    fake: FakeTwilio, make_provider: MakeProvider, message: Message
) -> None:
    twilio = make_provider("twilio", {**CREDENTIALS, "messagingServiceSid": "MG7"}, fake.base_url)
    mine = message(id=ids.encode(ids.MESSAGE, ids.new_id()))
    assert await asked(twilio, fake, mine, listed()) is None
    assert (
        await asked(twilio, fake, mine, listed(messaging_service_sid="MG7", **{"from": "+1"}))
        == "SM7"
    )


async def test_a_twilio_that_cannot_say_is_asked_again(
    fake: FakeTwilio, twilio: Provider[Any], message: Message
) -> None:
    mine = message(id=ids.encode(ids.MESSAGE, ids.new_id()))
    answers: list[tuple[int, dict[str, Any]]] = [(500, {}), (200, {}), (200, {"messages": 5})]
    for status, body in answers:
        fake.reply_once(status, body)
        with pytest.raises(Unavailable):
            await twilio.find_sent(mine)
    # A meaningless item is not ours.
    assert await asked(twilio, fake, mine, {"sid": "SM1"}) is None
