"""Which ways a send may go: chains of channels, saved routes, pools; what is stored of them, and
what is refused.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from backend.errors import (
    AppError,
    ConnectorNotActive,
    ConnectorNotFound,
    InvalidConnectorType,
    InvalidPhone,
    InvalidTo,
    RecipientSuppressed,
    RouteNotFound,
)
from backend.ids import ROUTE, encode, new_id
from backend.models import Connector, Message, Suppression
from backend.models.session import Change, announce
from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.catalog.catalog import CatalogConnector
from backend.services.messages.actions import resend_message
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.routing.saved_routes import NewRoute, create_route, update_route
from backend.services.routing.ways import spread
from backend.services.sending.accept import accept_message
from tests.world import World

TWILIO = {"accountSid": "AC" + "0" * 32, "authToken": "0" * 32, "fromNumber": "+14155550100"}
WHATSAPP = {"phoneNumberId": "123456789012345", "accessToken": "EAAG-token"}
SMTP = {"host": "127.0.0.1", "port": 2525, "security": "none", "fromAddress": "shop@example.com"}
PHONE, EMAIL = "+14155550123", "ada@example.com"
BOTH = {"phone": PHONE, "email": EMAIL}


async def _chain(world: World) -> dict[str, Connector]:
    return {
        "whatsapp": await world.connector("whatsapp", WHATSAPP),
        "twilio": await world.connector("twilio", TWILIO),
        "smtp": await world.connector("smtp", SMTP),
    }


async def _accepted(world: World, **fields: Any) -> Message:
    fields = {"to": "", "recipients": BOTH, "text": "hi"} | fields
    return await world.message((await world.send(SendRequest(**fields))).message_id)


def _steps(message: Message) -> list[tuple[str, str, str]]:
    assert message.route is not None
    return [
        (step["connectorType"], step["recipient"], step["on"]) for step in message.route["steps"]
    ]


async def test_each_way_of_a_chain_has_its_own_connector_recipient_and_content(
    world: World,
) -> None:
    ours = await _chain(world)
    template = await world.template(
        "Code {{code}}",
        subject="Your code",
        variables=["code"],
        variants={
            "whatsapp": {"name": "otp", "language": "en", "parameters": ["code"]},
            "sms": {"content": "SMS {{code}}"},
            "email": {"html": "<b>{{code}}</b>"},
        },
    )
    message = await _accepted(
        world,
        text=None,
        template_id=template.id,
        variables={"code": "42"},
        channels=["whatsapp", "sms", "email"],
        fallback_after_s=30,
    )
    route = message.route
    assert route is not None
    assert route["fallbackAfterS"] == 30
    assert [step["connectorId"] for step in route["steps"]] == [
        str(item.id) for item in ours.values()
    ]
    assert _steps(message) == [
        ("whatsapp", PHONE, "failure"),
        ("twilio", PHONE, "failure"),
        ("smtp", EMAIL, "failure"),
    ]
    whatsapp, sms, email = (step["content"] for step in route["steps"])
    assert whatsapp["template"] == {"name": "otp", "language": "en", "parameters": ["42"]}
    assert sms == {"text": "SMS 42"}
    assert email == {"text": "Code 42", "subject": "Your code", "html": "<b>42</b>"}
    first = (
        message.connector_id,
        message.connector_type,
        message.recipient,
        message.content,
        message.step,
    )
    assert first == (ours["whatsapp"].id, "whatsapp", PHONE, whatsapp, 0)


async def test_a_message_with_one_way_has_no_route(world: World) -> None:
    await _chain(world)
    for fields in (
        {"channels": ["sms"]},
        {"connector_type": "twilio"},
        {"channels": ["sms"], "fallback_after_s": 5},
    ):
        message = await _accepted(world, **fields)
        assert (message.route, message.recipient) == (None, PHONE)


async def test_one_address_serves_every_channel_that_can_have_it(world: World) -> None:
    await _chain(world)
    message = await _accepted(
        world, to="14155550123", recipients=None, channels=["whatsapp", "sms"]
    )
    assert [recipient for _, recipient, _ in _steps(message)] == [PHONE, PHONE]
    with pytest.raises(InvalidTo, match="email"):
        await _accepted(world, to=PHONE, recipients=None, channels=["sms", "email"])
    with pytest.raises(InvalidPhone, match="sms"):
        await _accepted(world, to=EMAIL, recipients=None, channels=["email", "sms"])


async def test_the_most_particular_address_counts(world: World) -> None:
    await _chain(world)
    to = {"phone": PHONE, "sms": "+14155550124", "email": EMAIL}
    message = await _accepted(world, recipients=to, channels=["whatsapp", "sms"])
    assert [recipient for _, recipient, _ in _steps(message)] == [PHONE, "+14155550124"]


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        (
            {"channels": ["sms", "pigeon"]},
            InvalidConnectorType,
            "'pigeon' is not a channel; use one of: email",
        ),
        ({"channels": ["sms", "telegram"]}, ConnectorNotFound, "'telegram' has no connector"),
        (
            {"channels": ["sms", "email"], "recipients": {"phone": PHONE}},
            InvalidTo,
            "no recipient for .*'email'",
        ),
        ({"channels": ["sms", "email"], "recipients": {**BOTH, "email": "x"}}, InvalidTo, "'x'"),
        ({"route": "none"}, RouteNotFound, "'none'"),
        ({"route": encode(ROUTE, new_id())}, RouteNotFound, "rte_"),
    ],
)
async def test_what_is_missing_in_a_chain_is_named(
    world: World, fields: dict[str, Any], error: type[AppError], words: str
) -> None:
    await _chain(world)
    with pytest.raises(error, match=words):
        await _accepted(world, **fields)


async def test_a_paused_channel_is_passed_over_as_long_as_there_is_another(world: World) -> None:
    await world.connector("twilio", TWILIO, is_active=False)
    smtp = await world.connector("smtp", SMTP)
    message = await _accepted(world, channels=["sms", "email"])
    assert (message.connector_id, message.route) == (smtp.id, None)
    with pytest.raises(ConnectorNotActive, match="twilio"):
        await _accepted(world, channels=["sms"])


async def test_a_test_key_reaches_the_sandbox_by_every_channel(
    platform: Platform, world: World
) -> None:
    sandbox = await world.connector()
    caller = Sender(system_access(world.project_id), "test")
    request = SendRequest(to="", recipients=BOTH, text="hi", channels=["email", "sms"])
    message = await world.message(
        (await accept_message(platform.send_path, caller, request)).message_id
    )
    assert (message.connector_id, message.recipient, message.route) == (sandbox.id, EMAIL, None)
    with pytest.raises(InvalidTo, match="sms"):
        await accept_message(
            platform.send_path,
            caller,
            SendRequest(to="", recipients={"email": EMAIL}, text="hi", channels=["email", "sms"]),
        )


async def test_a_suppressed_recipient_is_reached_by_the_next_channel(
    platform: Platform, world: World
) -> None:
    await _chain(world)
    await _suppress(platform, world, "whatsapp", PHONE)
    message = await _accepted(world, channels=["whatsapp", "sms", "email"])
    assert [kind for kind, _, _ in _steps(message)] == ["twilio", "smtp"]
    assert message.connector_type == "twilio"
    await _suppress(platform, world, "twilio", PHONE)
    message = await _accepted(world, channels=["whatsapp", "sms", "email"])
    assert (message.connector_type, message.route) == ("smtp", None)
    await _suppress(platform, world, "smtp", EMAIL)
    with pytest.raises(RecipientSuppressed):
        await _accepted(world, channels=["whatsapp", "sms", "email"])


async def _suppress(platform: Platform, world: World, channel: str, recipient: str) -> None:
    async with platform.database.transaction() as session:
        session.add(Suppression(project_id=world.project_id, channel=channel, recipient=recipient))


async def test_a_saved_route_is_sent_by_name_and_by_id_and_its_change_counts_at_once(
    platform: Platform, world: World
) -> None:
    ours = await _chain(world)
    steps = [{"channel": "sms"}, {"connectorId": str(ours["smtp"].id)}]
    async with platform.database.transaction() as session:
        route = await create_route(
            session,
            system_access(world.project_id),
            new=NewRoute("urgent", steps, fallback_after_s=60),
        )
    for name in ("urgent", encode(ROUTE, route.id)):
        message = await _accepted(world, route=name)
        assert [kind for kind, _, _ in _steps(message)] == ["twilio", "smtp"]
        assert message.route is not None
        assert message.route["fallbackAfterS"] == 60
    overridden = await _accepted(world, route="urgent", fallback_after_s=5)
    assert overridden.route is not None
    assert overridden.route["fallbackAfterS"] == 5
    async with platform.database.transaction() as session:
        await update_route(
            session,
            system_access(world.project_id),
            route_id=route.id,
            changes={"steps": list(reversed(steps))},
        )
    changed = await _accepted(world, route="urgent")
    assert [kind for kind, _, _ in _steps(changed)] == ["smtp", "twilio"]
    await _change(platform, ours["smtp"], deleted_at=ours["smtp"].created_at)
    assert (await _accepted(world, route="urgent")).connector_type == "twilio"


async def _change(platform: Platform, connector: Connector, **fields: Any) -> None:
    async with platform.database.transaction() as session:
        row = await session.merge(connector)
        for name, value in fields.items():
            setattr(row, name, value)
        announce(session, Change("connector", connector.id))


async def test_a_pool_shares_its_sends_by_weight_and_the_others_stand_by(
    platform: Platform, world: World
) -> None:
    """A third against two thirds of 300 recipients: 100, give or take 4 standard deviations of
    8.2.
    """
    outside = await world.connector("twilio", TWILIO)  # the default, which has no weight
    light = await world.connector("twilio", TWILIO, weight=1)
    heavy = await world.connector("twilio", TWILIO, weight=2)
    spare = await world.connector("twilio", TWILIO, weight=0)
    pool = await platform.catalog.pool(world.project_id, "twilio")
    assert [member.id for member in pool] == [heavy.id, light.id, spare.id]
    firsts = Counter(spread(pool, f"+1415555{number:04}")[0].id for number in range(300))
    assert set(firsts) == {light.id, heavy.id}
    assert 67 < firsts[light.id] < 133
    message = await _accepted(world, connector_type="twilio")
    again = await _accepted(world, channels=["sms"])
    assert message.connector_id == again.connector_id
    assert message.route is not None
    used = [step["connectorId"] for step in message.route["steps"]]
    assert set(used) == {str(item.id) for item in (light, heavy, spare)}
    assert str(outside.id) not in used
    assert used[-1] == str(spare.id)
    assert [on for _, _, on in _steps(message)] == ["failure", "unavailable", "unavailable"]


async def test_a_pool_in_a_chain_is_one_of_its_channels(world: World) -> None:
    for weight in (2, 1):
        await world.connector("twilio", TWILIO, weight=weight)
    await world.connector("smtp", SMTP)
    message = await _accepted(world, channels=["sms", "email"])
    assert [(kind, on) for kind, _, on in _steps(message)] == [
        ("twilio", "failure"),
        ("twilio", "unavailable"),
        ("smtp", "failure"),
    ]


def test_a_member_that_cannot_send_now_comes_last_and_moves_nobody_else() -> None:
    pool = [_member(weight=5), _member(weight=5), _member(weight=5)]
    ill = _member(weight=5, id=pool[0].id, is_healthy=False)
    recipients = [f"+1415555{number:04}" for number in range(100)]
    before = {to: spread(pool, to)[0].id for to in recipients}
    after = {to: spread([ill, *pool[1:]], to)[0].id for to in recipients}
    moved = {to for to in recipients if before[to] != after[to]}
    assert moved == {to for to in recipients if before[to] == ill.id}
    assert ill.id not in after.values()


def _member(**fields: Any) -> CatalogConnector:
    return CatalogConnector(
        **{
            "id": new_id(),
            "project_id": new_id(),
            "type": "twilio",
            "name": "",
            "is_active": True,
            **fields,
        }
    )


async def test_a_resend_begins_with_the_first_way_again(platform: Platform, world: World) -> None:
    ours = await _chain(world)
    message = await _accepted(world, channels=["sms", "email"], fallback_after_s=9)
    async with platform.database.raw.connection() as connection:
        await connection.execute("DELETE FROM send_queue WHERE message_id = %s", (message.id,))
        await connection.execute(
            "UPDATE messages SET status = 'failed', step = 1, connector_id = %s, connector_type ="
            " 'smtp', recipient = %s WHERE id = %s",
            (ours["smtp"].id, EMAIL, message.id),
        )
    caller = Sender(system_access(world.project_id), "live")
    repeated = await world.message(
        (await resend_message(platform.send_path, caller, message_id=message.id)).message_id
    )
    assert (repeated.connector_id, repeated.recipient, repeated.step) == (
        ours["twilio"].id,
        PHONE,
        0,
    )
    assert repeated.route == message.route
    await _change(platform, ours["twilio"], is_active=False)
    without = await world.message(
        (await resend_message(platform.send_path, caller, message_id=message.id)).message_id
    )
    assert (without.connector_id, without.route) == (ours["smtp"].id, None)
