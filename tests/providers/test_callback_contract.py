"""What every provider with receipts promises of its callbacks.

Having the capability is enough to be tested.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backend.providers.frame.callbacks import CallbackRequest
from backend.providers.frame.errors import CallbackRefused
from backend.providers.frame.provider import Capability, Provider
from backend.providers.frame.registry import get_provider, provider_types
from tests.providers.conftest import MakeProvider
from tests.providers.fakes import CASES, CallbackMaker, Reported

TYPES = sorted(provider_types())
WITH_RECEIPTS = [
    type_ for type_ in TYPES if Capability.RECEIPTS in get_provider(type_).capabilities
]
MESSAGE_ID = "msg_01h455vb4pex5vsknk084sn02q"


def maker_of(provider_type: str) -> CallbackMaker:
    maker = CASES[provider_type].callbacks
    assert maker is not None, (
        f"add callbacks to the case of '{provider_type}' in tests/providers/fakes/_cases.py"
    )
    return maker


def provider_of(provider_type: str, make_provider: MakeProvider) -> Provider[Any]:
    case = CASES[provider_type]
    return make_provider(
        provider_type, case.credentials("127.0.0.1", 9), case.base_url("127.0.0.1", 9)
    )


def is_refused(provider: Provider[Any], request: CallbackRequest) -> bool:
    try:
        provider.verify_callback(request)
    except CallbackRefused:
        return True
    return False


def test_some_providers_have_receipts() -> None:
    assert {"twilio", "whatsapp"} <= set(WITH_RECEIPTS)


@pytest.mark.parametrize("provider_type", TYPES)
def test_a_provider_with_receipts_declares_their_format(provider_type: str) -> None:
    provider = get_provider(provider_type)
    reports = provider.capabilities & {Capability.RECEIPTS, Capability.INBOUND}
    assert bool(reports) == (provider.callback_type is not None)
    assert (
        Capability.READ_RECEIPTS not in provider.capabilities
        or Capability.RECEIPTS in provider.capabilities
    )


@pytest.mark.parametrize("provider_type", [type_ for type_ in TYPES if type_ not in WITH_RECEIPTS])
def test_a_provider_without_receipts_refuses_every_callback(
    provider_type: str, make_provider: MakeProvider
) -> None:
    provider = provider_of(provider_type, make_provider)
    assert is_refused(provider, CallbackRequest(body=b"{}"))
    with pytest.raises(CallbackRefused):
        provider.answer_handshake(CallbackRequest(query="hub.mode=subscribe"))


@pytest.mark.parametrize("provider_type", WITH_RECEIPTS)
def test_what_the_provider_signed_is_read(provider_type: str, make_provider: MakeProvider) -> None:
    provider, maker = provider_of(provider_type, make_provider), maker_of(provider_type)
    assert {"sent", "delivered", "failed"} <= set(maker.words)
    for status, word in maker.words.items():
        request = maker.request(
            Reported("id-1", word, code=131026 if status == "failed" else None, reason="Gone")
        )
        provider.verify_callback(request)
        (receipt,) = provider.parse_callback(request)
        assert (receipt.status, receipt.provider_message_id) == (status, "id-1")
        assert receipt.message_id is None
        if status == "failed":
            assert (receipt.code, receipt.reason) == ("131026", "Gone")


@pytest.mark.parametrize("provider_type", WITH_RECEIPTS)
def test_our_own_id_comes_back(provider_type: str, make_provider: MakeProvider) -> None:
    provider, maker = provider_of(provider_type, make_provider), maker_of(provider_type)
    request = maker.request(Reported("id-1", maker.words["delivered"], message_id=MESSAGE_ID))
    provider.verify_callback(request)
    (receipt,) = provider.parse_callback(request)
    assert receipt.message_id == MESSAGE_ID


@pytest.mark.parametrize("provider_type", WITH_RECEIPTS)
def test_what_someone_else_signed_is_refused(
    provider_type: str, make_provider: MakeProvider
) -> None:
    provider, maker = provider_of(provider_type, make_provider), maker_of(provider_type)
    good = maker.request(Reported("id-1", maker.words["delivered"]))
    assert not is_refused(provider, good)
    assert is_refused(provider, replace(good, body=good.body.replace(b"id-1", b"id-2")))
    assert is_refused(provider, replace(good, headers={}))
    for name in set(good.headers) - {"content-type"}:
        value = good.headers[name]
        for forged in ("", "sha256=", value[:-3], value[:-3] + "abc", value + "=", "é"):
            assert is_refused(provider, replace(good, headers={**good.headers, name: forged})), (
                forged
            )
    stranger = type(maker)("another-secret")  # type: ignore[call-arg]  # both makers take their secret
    assert is_refused(provider, stranger.request(Reported("id-1", maker.words["delivered"])))


@pytest.mark.parametrize("provider_type", WITH_RECEIPTS)
def test_an_unknown_status_changes_nothing(
    provider_type: str, make_provider: MakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider, maker = provider_of(provider_type, make_provider), maker_of(provider_type)
    assert provider.parse_callback(maker.request(Reported("id-1", "teleported"))) == []
    assert "receipt.unknown_status" in capsys.readouterr().out


@pytest.mark.parametrize("provider_type", WITH_RECEIPTS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"entry": 1}',
        (
            b'{"entry": [1, {"changes": [null, {"value": {"statuses": [1, {}, {"id": 7, "status":'
            b' "sent"}]}}]}]}'
        ),
        b"MessageStatus=delivered",
        b"MessageSid=SM1&MessageStatus=",
        b"=&&&=",
    ],
)
def test_a_signed_but_meaningless_body_breaks_nothing(
    provider_type: str, body: bytes, make_provider: MakeProvider
) -> None:
    provider, maker = provider_of(provider_type, make_provider), maker_of(provider_type)
    request = maker.signed(body)
    if not is_refused(provider, request):
        assert provider.parse_callback(request) == []


@pytest.mark.parametrize("provider_type", WITH_RECEIPTS)
def test_no_receipt_shows_a_secret(provider_type: str, make_provider: MakeProvider) -> None:
    provider, maker = provider_of(provider_type, make_provider), maker_of(provider_type)
    for secret in provider.hidden:
        reported = Reported("id-1", maker.words["failed"], code=131026, reason=f"You sent {secret}")
        (receipt,) = provider.parse_callback(maker.request(reported))
        assert secret not in repr(receipt)
