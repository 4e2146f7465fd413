"""A chain from its acceptance to its second channel: refused on the first, taken on the next."""

from __future__ import annotations

import asyncio

from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.policy.request import SendRequest
from backend.services.reporting.messages import message_detail
from tests.providers.fakes import FakeTwilio
from tests.world import World, make_engine

TWILIO = {"accountSid": "AC" + "0" * 32, "authToken": "f" * 32, "fromNumber": "+14155550100"}
PHONE = "+14155550123"


async def test_what_the_first_channel_refuses_the_next_one_sends_in_its_own_words(
    platform: Platform, world: World
) -> None:
    await world.connector()
    sms = await world.connector("twilio", TWILIO)
    template = await world.template(
        "Long {{name}}", variants={"sms": {"content": "Short {{name}}"}}
    )
    accepted = await world.send(
        SendRequest(
            to="",
            recipients={"sandbox": "sandbox:failed", "phone": PHONE},
            channels=["sandbox", "sms"],
            template_id=template.id,
            variables={"name": "Ada"},
            fallback_after_s=60,
        )
    )
    async with FakeTwilio() as twilio:
        engine = make_engine(platform, base_urls={"twilio": twilio.base_url})
        async with asyncio.timeout(10):
            while (await world.message(accepted.message_id)).status not in {"sent", "failed"}:
                await platform.doorbell.drain()
                await engine.drain_slice(0.3)
        await engine.close(2)
    message = await world.message(accepted.message_id)
    assert (message.status, message.connector_id, message.recipient) == ("sent", sms.id, PHONE)
    assert message.content == {"text": "Short Ada"}
    async with platform.database.session() as session:
        detail = await message_detail(
            session, system_access(world.project_id), message_id=message.id
        )
    assert detail.route is not None
    assert [(way.connector_type, way.state) for way in detail.route.ways] == [
        ("sandbox", "left"),
        ("twilio", "current"),
    ]
    assert [attempt.outcome for attempt in detail.attempts] == ["rejected", "accepted"]
