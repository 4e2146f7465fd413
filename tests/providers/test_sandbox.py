"""The sandbox: a recipient for each outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from backend import ids
from backend.providers.frame.callbacks import Receipt
from backend.providers.frame.errors import (
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unavailable,
)
from backend.providers.frame.provider import OutboundMessage
from tests.providers.conftest import MakeProvider

Message = Callable[..., OutboundMessage]


def id_of_age(age_s: float) -> str:
    made_ms = int((time.time() - age_s) * 1000)
    # UUIDv7: 48 bits of milliseconds, version 7, variant 2.
    return ids.encode(ids.MESSAGE, UUID(int=(made_ms << 80) | (7 << 76) | (2 << 62) | 1))


@pytest.mark.parametrize(
    "to", ["sandbox:delivered", "+14155550123", "ada@example.com", "anything at all"]
)
async def test_any_recipient_gets_the_message(
    to: str, make_provider: MakeProvider, message: Message
) -> None:
    accepted = await make_provider("sandbox", {}).send(message(to=to))
    assert accepted.status == "delivered"
    assert accepted.provider_message_id == "sandbox_msg_01h455vb4pex5vsknk084sn02q"


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("sandbox:failed", Rejected),
        ("sandbox:uncertain", OutcomeUnknown),
        ("sandbox:throttled", Throttled),
        ("sandbox:retry", Unavailable),
    ],
)
async def test_a_magic_recipient_has_its_outcome(
    to: str, expected: type[SendError], make_provider: MakeProvider, message: Message
) -> None:
    with pytest.raises(SendError) as caught:
        await make_provider("sandbox", {}).send(message(to=to, id=id_of_age(0)))
    assert type(caught.value) is expected


@pytest.mark.parametrize("to", ["sandbox:throttled", "sandbox:retry"])
async def test_a_message_three_seconds_old_is_delivered(
    to: str, make_provider: MakeProvider, message: Message
) -> None:
    accepted = await make_provider("sandbox", {}).send(message(to=to, id=id_of_age(3.1)))
    assert accepted.status == "delivered"


@pytest.mark.parametrize(
    ("to", "statuses"),
    [
        ("sandbox:delivered-late", ["delivered"]),
        ("sandbox:read-late", ["delivered", "read"]),
        ("sandbox:undelivered-late", ["undelivered"]),
    ],
)
async def test_a_late_recipients_receipt_comes_after_two_seconds(
    to: str, statuses: list[str], make_provider: MakeProvider, message: Message
) -> None:
    reported: list[Receipt] = []

    async def report(receipts: Sequence[Receipt]) -> None:
        reported.extend(receipts)

    sandbox = make_provider("sandbox", {})
    sandbox.context = replace(sandbox.context, report=report)
    asked = datetime.now(UTC)
    accepted = await sandbox.send(message(to=to))
    assert accepted.status == "sent"
    assert [receipt.status for receipt in reported] == statuses
    for receipt in reported:
        assert receipt.message_id == "msg_01h455vb4pex5vsknk084sn02q"
        assert receipt.at is not None
        assert asked <= receipt.at - timedelta(seconds=2) <= datetime.now(UTC)
    # Without a store for receipts the message is sent anyway.
    assert (await make_provider("sandbox", {}).send(message(to=to))).status == "sent"


async def test_the_throttle_says_how_long(make_provider: MakeProvider, message: Message) -> None:
    with pytest.raises(Throttled) as caught:
        await make_provider("sandbox", {}).send(message(to="sandbox:throttled", id=id_of_age(1)))
    assert 0 < (caught.value.retry_after_s or 0) <= 2.0  # 3 s less its age of 1 s


async def test_slow_takes_two_seconds(make_provider: MakeProvider, message: Message) -> None:
    started = time.monotonic()
    await make_provider("sandbox", {}).send(message(to="sandbox:slow"))
    assert time.monotonic() - started > 1.9


async def test_the_check_always_passes(make_provider: MakeProvider) -> None:
    assert (await make_provider("sandbox", {}).validate()).connected
