"""The delivery engine against a real HTTP provider: one hand-over each, and what failures mean."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from redis import Redis
from rq import Queue

from backend.dispatch.retry import RetryPolicy
from backend.models import Connector, Event
from backend.platform import Platform
from backend.queueing import QUEUE
from backend.services.delivery.engine import DeliveryEngine
from backend.services.policy.request import SendRequest
from tests.providers.fakes import FakeTelegram, FaultServer, refused_port
from tests.world import World, make_engine

TOKEN = {"botToken": "123456:test-token-0123456789abcdefghijklm"}


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as fake:
        yield fake


@pytest_asyncio.fixture
async def engine(platform: Platform, telegram: FakeTelegram) -> AsyncIterator[DeliveryEngine]:
    engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
    yield engine
    await engine.close(2)


async def _drain(platform: Platform, engine: DeliveryEngine, seconds: float = 0.6) -> None:
    await platform.doorbell.drain()
    await engine.drain_slice(seconds)


async def _send(world: World, connector: Connector, text: str = "hello", **fields: object) -> UUID:
    request = SendRequest(to="42", text=text, connector_id=connector.id, **fields)  # type: ignore[arg-type]
    return (await world.send(request)).message_id


async def _queue_state(platform: Platform, message_id: UUID) -> tuple[int, int] | None:
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT state, tries FROM send_queue WHERE message_id = %s", (message_id,)
        )
        return await cursor.fetchone()


async def test_a_message_is_handed_over_once_and_its_attempt_recorded(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    connector = await world.connector("telegram", TOKEN)
    message_id = await _send(world, connector, "hello")
    await _drain(platform, engine)
    message = await world.wait_for(message_id, "sent")
    assert [received.body["text"] for received in telegram.messages] == ["hello"]
    (attempt,) = await world.attempts(message_id)
    assert (attempt.number, attempt.outcome) == (1, "accepted")
    assert message.provider_message_id
    assert await _queue_state(platform, message_id) is None
    async with platform.database.session() as session:
        assert [event.type for event in await Event.list_for_message(session, message_id)] == [
            "message.sent"
        ]


async def test_a_thousand_messages_arrive_once_each_through_two_engines(
    platform: Platform, world: World, telegram: FakeTelegram
) -> None:
    connector = await world.connector("telegram", TOKEN)
    ids = await asyncio.gather(
        *(_send(world, connector, f"text {number}") for number in range(1000))
    )
    engines = [make_engine(platform, base_urls={"telegram": telegram.base_url}) for _ in range(2)]
    await platform.doorbell.drain()
    await asyncio.gather(*(engine.drain_slice(10) for engine in engines))
    for engine in engines:
        await engine.close(10)
    assert Counter(received.body["text"] for received in telegram.messages) == Counter(
        {f"text {number}": 1 for number in range(1000)}
    )
    assert {(await world.message(message_id)).status for message_id in ids[::100]} == {"sent"}


async def test_a_rejected_message_fails_with_the_providers_reason(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    connector = await world.connector("telegram", TOKEN)
    telegram.refuse_once(403, "Forbidden: bot was blocked by the user")
    message_id = await _send(world, connector)
    await _drain(platform, engine)
    message = await world.wait_for(message_id, "failed")
    assert message.failed_at is not None
    assert "blocked" in (message.error_reason or "")
    # Blocked for good: the next send to this recipient is refused at the door.
    with pytest.raises(Exception, match="opted out"):
        await _send(world, connector)


async def test_an_unavailable_provider_is_tried_again_until_it_answers(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN)
    engine = make_engine(platform, base_urls={"telegram": f"http://127.0.0.1:{refused_port()}/bot"})
    message_id = await _send(world, connector)
    await _drain(platform, engine)
    assert (await world.message(message_id)).status == "queued"
    assert (await world.attempts(message_id))[0].outcome == "retry"
    await engine.close(2)
    async with FakeTelegram() as telegram:
        second = make_engine(platform, base_urls={"telegram": telegram.base_url})
        for _ in range(5):
            await _drain(platform, second)
            if (await world.message(message_id)).status == "sent":
                break
        message = await world.wait_for(message_id, "sent")
        await second.close(2)
    assert message.error_reason is None
    assert len(telegram.messages) == 1


async def test_retries_end_after_their_number_with_the_last_reason(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN)
    engine = make_engine(
        platform,
        base_urls={"telegram": f"http://127.0.0.1:{refused_port()}/bot"},
        retry_policy=RetryPolicy(max_attempts=3, base_s=0.01, cap_s=0.02, max_age_s=60),
    )
    message_id = await _send(world, connector)
    for _ in range(4):
        await _drain(platform, engine)
    message = await world.wait_for(message_id, "failed")
    assert message.error_code == "RETRIES_EXHAUSTED"
    assert [attempt.number for attempt in await world.attempts(message_id)] == [1, 2, 3]
    assert await _queue_state(platform, message_id) is None
    await engine.close(2)


@pytest.mark.parametrize(
    ("policy", "sends", "status"), [("hold", 0, "uncertain"), ("resend", 1, "sent")]
)
async def test_a_cut_off_send_is_repeated_only_where_the_template_says_so(
    platform: Platform, world: World, policy: str, sends: int, status: str
) -> None:
    connector = await world.connector("telegram", TOKEN)
    template = await world.template("hi", variables=[], on_uncertain=policy)
    message_id = (
        await world.send(SendRequest(to="42", template_id=template.id, connector_id=connector.id))
    ).message_id
    async with FaultServer("read_then_reset") as faulty:
        engine = make_engine(
            platform, base_urls={"telegram": f"http://127.0.0.1:{faulty.port}/bot"}
        )
        await _drain(platform, engine, 0.3)
        await world.wait_for(message_id, "uncertain")
        await engine.close(2)
    async with FakeTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        for _ in range(3):
            await _drain(platform, engine, 0.3)
            await asyncio.sleep(0.1)
        message = await world.wait_for(message_id, status)
        await engine.close(2)
    assert len(telegram.messages) == sends
    assert (message.attempts > 1) is (policy == "resend")


async def test_a_throttled_connector_waits_as_long_as_the_provider_says_and_burns_no_try(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    connector = await world.connector("telegram", TOKEN)
    telegram.refuse_once(429, "Too Many Requests", retry_after=1)
    first = await _send(world, connector, "first")
    await _drain(platform, engine)
    second = await _send(world, connector, "second")
    async with asyncio.timeout(15):
        while {(await world.message(message_id)).status for message_id in (first, second)} != {
            "sent"
        }:
            await _drain(platform, engine, 0.3)
    attempts = await world.attempts(first)
    assert [attempt.outcome for attempt in attempts] == ["throttled", "accepted"]
    # The connector's other message waited too: nothing was sent within the second.
    (other,) = await world.attempts(second)
    assert (other.started_at - attempts[0].started_at).total_seconds() >= 0.95


async def test_refused_credentials_break_the_connector_and_its_messages_wait(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    broken, healthy = await world.connector("telegram", TOKEN), await world.connector()
    telegram.refuse_once(401, "Unauthorized")
    waiting = await _send(world, broken)
    await _drain(platform, engine)
    async with platform.database.session() as session:
        row = await Connector.find(session, world.project_id, broken.id)
    assert row is not None
    assert row.broken_at is not None
    assert (await world.message(waiting)).status == "queued"
    assert await _queue_state(platform, waiting) == (0, 0)
    also_waiting = await _send(world, broken)
    going = (await world.send(SendRequest(to="ada", text="x", connector_id=healthy.id))).message_id
    await _drain(platform, engine)
    await world.wait_for(going, "delivered")
    assert (await world.attempts(also_waiting)) == []
    assert len(telegram.messages) == 1


async def test_an_expired_message_is_not_sent(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    connector = await world.connector("telegram", TOKEN)
    message_id = await _send(
        world, connector, expires_at=datetime.now(UTC) + timedelta(seconds=0.3)
    )
    await asyncio.sleep(0.4)
    await _drain(platform, engine)
    await world.wait_for(message_id, "expired")
    assert telegram.messages == []
    assert await world.attempts(message_id) == []


async def test_a_deleted_connectors_messages_fail_with_the_reason(
    platform: Platform, world: World, engine: DeliveryEngine
) -> None:
    connector = await world.connector("telegram", TOKEN)
    message_id = await _send(world, connector)
    async with platform.database.transaction() as session:
        row = await session.merge(connector)
        row.deleted_at = datetime.now(UTC)
    await _drain(platform, engine)
    message = await world.wait_for(message_id, "failed")
    assert message.error_code == "CONNECTOR_GONE"


async def test_an_adapter_with_a_bug_leaves_the_message_uncertain_not_lost(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN)
    async with FaultServer("garbage") as faulty:
        engine = make_engine(
            platform, base_urls={"telegram": f"http://127.0.0.1:{faulty.port}/bot"}
        )
        message_id = await _send(world, connector)
        await _drain(platform, engine)
        await world.wait_for(message_id, "uncertain")
        await engine.close(2)


async def test_stopping_lets_sends_under_way_end(platform: Platform, world: World) -> None:
    connector = await world.connector("telegram", TOKEN)
    async with FakeTelegram(latency_s=0.5) as slow:
        engine = make_engine(platform, base_urls={"telegram": slow.base_url})
        ids = [await _send(world, connector, f"{number}") for number in range(10)]
        await platform.doorbell.drain()
        slice_ = asyncio.create_task(engine.drain_slice(5))
        async with asyncio.timeout(5):
            while len(slow.received) < 10:
                await asyncio.sleep(0.01)
        late = await _send(world, connector, "late")
        await engine.close(5)
        await slice_
        assert {(await world.message(message_id)).status for message_id in ids} == {"sent"}
        assert (await world.message(late)).status == "queued"


async def test_a_bulk_backlog_does_not_hold_up_a_high_message_or_another_tenant(
    platform: Platform, world: World, telegram: FakeTelegram
) -> None:
    connector = await world.connector("telegram", TOKEN)
    await asyncio.gather(
        *(_send(world, connector, f"bulk {n}", priority="bulk") for n in range(900))
    )
    other = await World.make(platform)
    small = await other.connector("telegram", TOKEN)
    await _send(other, small, "small", priority="bulk")
    await _send(world, connector, "code", priority="high")
    engine = make_engine(platform, base_urls={"telegram": telegram.base_url}, concurrency=100)
    await _drain(platform, engine, 10)
    await engine.close(10)
    texts = [
        text
        for received in telegram.messages
        if (text := received.body["text"]).startswith(("bulk", "small", "code"))
    ]
    assert len(texts) == len(set(texts)) == 902
    assert texts.index("code") < 200
    assert texts.index("small") < 300


async def test_a_ring_at_any_moment_of_a_slice_is_heard(
    platform: Platform, world: World, engine: DeliveryEngine
) -> None:
    """Each message comes a little later in the life of the slice before; none may wait for the
    sweeper.
    """
    connector = await world.connector()
    await _drain(platform, engine)
    for step in range(30):
        slice_ = asyncio.create_task(engine.drain_slice(5))
        await asyncio.sleep(0.08 + step * 0.002)
        message_id = (
            await world.send(SendRequest(to="a", text="x", connector_id=connector.id))
        ).message_id
        await platform.doorbell.drain()
        await slice_
        # Not taken by this slice: then its ring must have found the bell free and enqueued a job.
        if (await world.message(message_id)).status == "queued":
            assert Queue(QUEUE, connection=_sync_redis(platform)).get_job_ids()
            await engine.drain_slice(0.3)
        await world.wait_for(message_id, "delivered")
        assert not await platform.redis.exists("bell")
        await platform.redis.delete(f"rq:queue:{QUEUE}")


def _sync_redis(platform: Platform) -> Redis:
    return Redis.from_url(platform.settings.require_redis_url())
