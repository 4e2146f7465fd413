"""The circuit breaker: a dead connector waits instead of wasting attempts, and costs the others
nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest_asyncio
from pydantic import SecretStr
from sqlmodel import col, select

from backend import ids
from backend.dispatch.retry import RetryPolicy
from backend.models import AuditEntry, Connector, ProjectMember
from backend.platform import Platform
from backend.services.accounts.mail import PlatformMail
from backend.services.connectors.connectors import circuit_state
from backend.services.delivery.broken import BrokenConnectors
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.open_connectors import OpenConnectors
from backend.services.policy.request import SendRequest
from backend.settings import Settings
from tests.providers.fakes import FakeSmtp, FakeTelegram, FaultServer, Received
from tests.world import World, make_engine

TOKEN = {"botToken": "123456:test-token-0123456789abcdefghijklm"}


_WORK = "circuit-test-work"


@pytest_asyncio.fixture(autouse=True)
async def no_engine_works_on() -> AsyncIterator[None]:
    """The engine of a test that failed must not take the next one's messages."""
    yield
    for task in asyncio.all_tasks():
        if task.get_name() == _WORK:
            task.cancel()


class MoodyTelegram(FakeTelegram):
    """Answers 503 while `is_away`, `status` otherwise."""

    is_away = True

    def success(self, received: Received) -> Any:
        if self.is_away:
            self.refuse_once(503, "Service Unavailable")
            return self.replies.popleft()
        return super().success(received)


async def _queue(
    world: World, connector: Connector, texts: Sequence[str], **fields: Any
) -> list[UUID]:
    """The ids of messages queued through `connector`."""
    requests = [
        SendRequest(to="42", text=text, connector_id=connector.id, **fields) for text in texts
    ]
    sent = await asyncio.gather(*(world.send(request) for request in requests))
    return [accepted.message_id for accepted in sent]


async def _work(platform: Platform, engine: DeliveryEngine) -> None:
    """Drain as a worker does, with the sweeper's ring each half second."""
    while True:
        async with platform.database.raw.connection() as connection:
            cursor = await connection.execute(
                "SELECT DISTINCT lane, connector_id FROM send_queue WHERE state = 0 AND due_at <="
                " now()"
            )
            platform.doorbell.ring(
                [(lane, connector_id) for lane, connector_id in await cursor.fetchall()]
            )
        await platform.doorbell.drain()
        await engine.drain_slice(0.5)


async def _row(platform: Platform, connector: Connector) -> Connector:
    async with platform.database.session() as session:
        row = await session.get(Connector, connector.id)
    assert row is not None
    return row


def _quick(**fields: Any) -> RetryPolicy:
    return RetryPolicy(
        **{"max_attempts": 4, "base_s": 0.01, "cap_s": 0.05, "max_age_s": 60, **fields}
    )


async def _until(condition: Any, *, timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def _statuses(world: World, ids: Sequence[UUID]) -> Counter[str]:
    async with world.platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT status FROM messages WHERE id = ANY(%s)", (list(ids),)
        )
        return Counter(row[0] for row in await cursor.fetchall())


async def test_a_dead_connector_wastes_few_attempts_and_goes_on_when_its_provider_is_back(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN)
    ids = await _queue(world, connector, [f"m{number}" for number in range(200)])
    async with MoodyTelegram() as telegram:
        engine = make_engine(
            platform, base_urls={"telegram": telegram.base_url}, retry_policy=_quick()
        )
        work = asyncio.create_task(_work(platform, engine), name=_WORK)
        await asyncio.sleep(2.5)
        # What was on its way when the circuit opened (a turn of 100), and a probe at 0.2, 0.6,
        # 1.4 and 2.4 s.
        wasted = len(telegram.messages)
        assert 5 <= wasted <= 110
        row = await _row(platform, connector)
        assert circuit_state(row) in {"open", "half_open"}
        assert "503" in (row.circuit_reason or "") or "Unavailable" in (row.circuit_reason or "")
        assert await _statuses(world, ids) == {"queued": 200}
        telegram.is_away = False

        async def is_through() -> bool:
            return await _statuses(world, ids[::20]) == {"sent": 10}

        await _until(is_through)
        await asyncio.sleep(0.3)
        work.cancel()
        await engine.close(2)
        assert await _statuses(world, ids) == {"sent": 200}
        accepted = Counter(received.body["text"] for received in telegram.messages[wasted:])
        assert set(accepted) == {f"m{number}" for number in range(200)}
        assert circuit_state(await _row(platform, connector)) == "closed"


async def test_one_probe_at_a_time_whichever_engine_asks(platform: Platform, world: World) -> None:
    connector = await world.connector("telegram", TOKEN)
    await _queue(world, connector, [f"m{number}" for number in range(40)], priority="bulk")
    await _queue(world, connector, [f"h{number}" for number in range(5)], priority="high")
    await platform.redis.set(f"circuit:{connector.id.hex}", "200")
    async with FakeTelegram(latency_s=0.4) as telegram:
        engines = [
            make_engine(platform, base_urls={"telegram": telegram.base_url}) for _ in range(2)
        ]
        work = [asyncio.create_task(_work(platform, engine), name=_WORK) for engine in engines]
        await asyncio.sleep(0.35)
        assert [received.body["text"][0] for received in telegram.messages] == ["h"]
        await asyncio.sleep(1.2)
        assert len(telegram.messages) == 45
        for task in work:
            task.cancel()
        for engine in engines:
            await engine.close(2)


async def test_tries_behind_an_open_circuit_do_not_count_and_time_still_does(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN)
    patient = await _queue(world, connector, [f"m{number}" for number in range(6)])
    async with MoodyTelegram() as telegram:
        policy = _quick(max_attempts=3)
        engine = make_engine(
            platform, base_urls={"telegram": telegram.base_url}, retry_policy=policy
        )
        work = asyncio.create_task(_work(platform, engine), name=_WORK)
        await asyncio.sleep(2.5)
        assert await _statuses(world, patient) == {"queued": 6}
        brief = await _queue(
            world, connector, ["brief"], expires_at=datetime.now(UTC) + timedelta(seconds=0.2)
        )
        await asyncio.sleep(0.3)
        telegram.is_away = False
        await world.wait_for(patient[0], "sent")
        await world.wait_for(brief[0], "expired")
        work.cancel()
        await engine.close(2)


async def test_refusals_and_throttles_open_nothing(platform: Platform, world: World) -> None:
    connector = await world.connector("telegram", TOKEN)
    async with FakeTelegram() as telegram:
        for _ in range(30):
            telegram.refuse_once(400, "Bad Request: message is too strange")
        ids = await _queue(world, connector, [f"m{number}" for number in range(30)])
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await platform.doorbell.drain()
        await engine.drain_slice(1)
        await engine.close(2)
    assert await _statuses(world, ids) == {"failed": 30}
    assert circuit_state(await _row(platform, connector)) == "closed"


async def test_a_connector_that_fails_every_other_time_stays_in_use(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN)
    async with FakeTelegram() as telegram:
        ids = await _queue(world, connector, [f"m{number}" for number in range(60)])
        for number in range(60):
            if number % 2:
                telegram.refuse_once(503, "Service Unavailable")
            else:
                telegram.reply_once(200, {"ok": True, "result": {"message_id": number}})
        engine = make_engine(
            platform, base_urls={"telegram": telegram.base_url}, retry_policy=_quick(max_attempts=9)
        )
        work = asyncio.create_task(_work(platform, engine), name=_WORK)
        await _until(lambda: _is_all(world, ids, "sent"))
        work.cancel()
        await engine.close(2)
    assert not await platform.redis.exists(f"circuit:{connector.id.hex}")


async def _is_all(world: World, ids: Sequence[UUID], status: str) -> bool:
    return await _statuses(world, ids) == {status: len(ids)}


async def test_a_hanging_connector_leaves_room_for_the_others(
    platform: Platform, world: World
) -> None:
    async with FaultServer("hang") as hanging:
        dead = await world.connector("telegram", TOKEN)
        await _queue(world, dead, [f"m{number}" for number in range(100)])
        # A worker of 20 places: the dead one gets 5 of them until it is heard of.
        engine = make_engine(
            platform,
            base_urls={"telegram": f"http://127.0.0.1:{hanging.port}/bot"},
            concurrency=20,
            exchange_timeout_s=60,
        )
        sandbox = await world.connector()
        work = asyncio.create_task(_work(platform, engine), name=_WORK)
        async with asyncio.timeout(20):
            while hanging.connections < 5:
                await asyncio.sleep(0.02)
        ids = [
            (await world.send(SendRequest(to="ada", text="x", connector_id=sandbox.id))).message_id
            for _ in range(40)
        ]
        for message_id in ids:
            await world.wait_for(message_id, "delivered")
        # Long before the first of its exchanges ends, and it never got another place.
        assert hanging.connections == 5
        work.cancel()
        await engine.close(0.1)


async def test_redis_flushed_while_a_circuit_is_open_loses_nothing(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN)
    ids = await _queue(world, connector, [f"m{number}" for number in range(20)])
    async with MoodyTelegram() as telegram:
        engine = make_engine(
            platform, base_urls={"telegram": telegram.base_url}, retry_policy=_quick()
        )
        work = asyncio.create_task(_work(platform, engine), name=_WORK)
        await asyncio.sleep(0.6)
        assert (await _row(platform, connector)).circuit_opened_at is not None
        await platform.redis.flushdb()
        telegram.is_away = False
        await _until(lambda: _is_all(world, ids, "sent"))
        await asyncio.sleep(0.1)
        work.cancel()
        await engine.close(2)
    # The row said open; the first success closed it.
    assert circuit_state(await _row(platform, connector)) == "closed"


async def test_a_connector_with_an_open_circuit_is_not_usable(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN)
    connectors = OpenConnectors(platform.database, platform.vault, platform.providers)
    assert (await connectors.get(connector.id)).is_usable
    async with platform.database.raw.connection() as connection:
        await connection.execute(
            "UPDATE connectors SET circuit_opened_at = now() WHERE id = %s", (connector.id,)
        )
    connectors.expire(connector.id)
    opened = await connectors.get(connector.id)
    assert opened.provider is not None
    assert not opened.is_usable


async def test_owners_get_one_mail_about_refused_credentials(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN)
    async with platform.database.session() as session:
        owners = await ProjectMember.owner_addresses(session, world.project_id)
    await _queue(world, connector, [f"m{number}" for number in range(20)])
    async with FakeTelegram(latency_s=0.05) as telegram, FakeSmtp() as smtp:
        for _ in range(20):
            telegram.refuse_once(401, "Unauthorized")
        url = SecretStr(f"smtp://{smtp.host}:{smtp.port}?security=none&from=hello@example.com")
        mail = PlatformMail(Settings(platform_smtp_url=url), platform.providers)
        broken = BrokenConnectors(platform.database, mail, public_url="https://mjs.example")
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url}, broken=broken)
        await platform.doorbell.drain()
        await engine.drain_slice(0.5)
        await engine.close(2)
        await mail.idle()
        await mail.aclose()
    (mail_sent,) = smtp.mails
    assert [*mail_sent.recipients] == owners
    link = f"https://mjs.example/connectors/{ids.encode(ids.CONNECTOR, connector.id)}"
    assert link in str(mail_sent)
    async with platform.database.session() as session:
        query = select(AuditEntry).where(col(AuditEntry.subject_id) == connector.id)
        entries = list((await session.exec(query)).all())
    (entry,) = [entry for entry in entries if entry.action == "connector.broken"]
    assert entry.actor_id is None
    assert "nauthorized" in str((entry.after or {})["reason"])
