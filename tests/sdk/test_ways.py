"""How the client names channels, routes and recipients by kind, and reads a message's ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from messagejs import Message
from messagejs._calls import send


@pytest.mark.parametrize(
    ("after", "sent"),
    [
        ("5m", "5m"),
        (30, 30),
        (timedelta(minutes=2), 120),
        (timedelta(milliseconds=1), 1),
        (None, None),
    ],
)
def test_a_chain_is_written_as_the_api_reads_it(after: Any, sent: Any) -> None:
    to = {"phone": "+14155550123", "email": "ada@example.com"}
    body = dict(
        send(to=to, message="hi", channels=["sms", "email"], fallback_after=after).body or {}
    )
    assert body.pop("fallbackAfter", None) == sent
    assert body == {"to": to, "message": "hi", "channels": ["sms", "email"]}
    assert dict(send(to="ada", message="hi", route="urgent").body or {})["route"] == "urgent"


def test_a_messages_ways_are_typed() -> None:
    way = {
        "connectorId": "conn_1",
        "connectorType": "twilio",
        "to": "+1",
        "on": "failure",
        "state": "current",
    }
    shown = {
        "id": "msg_1",
        "to": "+1",
        "status": "sent",
        "connectorType": "twilio",
        "createdAt": datetime.now(UTC),
    }
    message = Message.model_validate({**shown, "route": {"steps": [way], "fallbackAfterS": 60}})
    assert message.route is not None
    assert (message.route.steps[0].state, message.route.fallback_after_s) == ("current", 60)
    assert Message.model_validate({**shown, "route": None}).route is None
