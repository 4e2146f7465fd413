"""WhatsApp's callbacks: the handshake, batches with bad items, opt-outs, other numbers of the same
app.
"""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from backend.providers.frame.callbacks import CallbackRequest
from backend.providers.frame.errors import CallbackRefused
from tests.providers.conftest import MakeProvider
from tests.providers.fakes import Reported, WhatsAppCallbacks

CREDENTIALS = {
    "phoneNumberId": "123456789",
    "accessToken": "EAAG-1",
    "appSecret": "app-1",
    "verifyToken": "word-1",
}
META = WhatsAppCallbacks("app-1")


def handshake(**values: str) -> CallbackRequest:
    asked = {"mode": "subscribe", "verify_token": "word-1", "challenge": "1158201444", **values}
    return CallbackRequest(query="&".join(f"hub.{name}={value}" for name, value in asked.items()))


def test_the_handshake_echoes_the_challenge_if_the_word_is_right(
    make_provider: MakeProvider,
) -> None:
    provider = make_provider("whatsapp", CREDENTIALS)
    assert provider.answer_handshake(handshake()) == "1158201444"
    for wrong in (
        handshake(verify_token="word-2"),
        handshake(mode="unsubscribe"),
        CallbackRequest(),
    ):
        with pytest.raises(CallbackRefused):
            provider.answer_handshake(wrong)


def test_a_connector_without_its_secrets_trusts_no_callback(make_provider: MakeProvider) -> None:
    provider = make_provider("whatsapp", {"phoneNumberId": "123456789", "accessToken": "EAAG-1"})
    with pytest.raises(CallbackRefused, match="verify token"):
        provider.answer_handshake(handshake(verify_token=""))
    with pytest.raises(CallbackRefused, match="app secret"):
        provider.verify_callback(WhatsAppCallbacks("").signed(b"{}"))


def test_a_bad_item_does_not_lose_the_others(make_provider: MakeProvider) -> None:
    good = [META.status(Reported(f"wamid.{number}", "delivered")) for number in range(3)]
    bad = [
        None,
        7,
        {},
        {"id": 5, "status": "read"},
        {"id": "", "status": "read"},
        {"id": "wamid.9", "status": "new"},
    ]
    mixed = [good[0], *bad[:3], good[1], *bad[3:], good[2]]
    receipts = make_provider("whatsapp", CREDENTIALS).parse_callback(META.signed(META.body(mixed)))
    assert [receipt.provider_message_id for receipt in receipts] == [
        "wamid.0",
        "wamid.1",
        "wamid.2",
    ]


def test_odd_fields_of_a_status_do_not_lose_it(make_provider: MakeProvider) -> None:
    status = META.status(Reported("wamid.1", "failed"))
    odd = {**status, "timestamp": "soon", "errors": "many", "biz_opaque_callback_data": {"a": 1}}
    (receipt,) = make_provider("whatsapp", CREDENTIALS).parse_callback(
        META.signed(META.body([odd]))
    )
    assert (receipt.status, receipt.at, receipt.code, receipt.message_id) == (
        "failed",
        None,
        "",
        None,
    )


def test_the_receipt_has_metas_time_and_its_details(make_provider: MakeProvider) -> None:
    reported = Reported(
        "wamid.1", "failed", code=131026, reason="Not on WhatsApp", at=1_700_000_000
    )
    (receipt,) = make_provider("whatsapp", CREDENTIALS).parse_callback(META.request(reported))
    assert receipt.at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (receipt.code, receipt.reason, receipt.suppress) == ("131026", "Not on WhatsApp", False)


def test_an_opt_out_suppresses(make_provider: MakeProvider) -> None:
    reported = Reported("wamid.1", "failed", code=131050, reason="User has opted out")
    (receipt,) = make_provider("whatsapp", CREDENTIALS).parse_callback(META.request(reported))
    assert receipt.suppress


def test_statuses_of_the_apps_other_numbers_are_left_alone(make_provider: MakeProvider) -> None:
    other = WhatsAppCallbacks("app-1", phone_number_id="987654321")
    provider = make_provider("whatsapp", CREDENTIALS)
    assert provider.parse_callback(other.request(Reported("wamid.1", "delivered"))) == []
    bare = orjson.dumps(
        {"entry": [{"changes": [{"value": {"statuses": [{"id": "wamid.1", "status": "read"}]}}]}]}
    )
    assert [receipt.status for receipt in provider.parse_callback(META.signed(bare))] == ["read"]
