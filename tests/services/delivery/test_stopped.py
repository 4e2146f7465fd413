"""Stopping a tenant: from the answer on nothing of it is sent; switched off it waits, deleted it is
canceled.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from backend.errors import LastOwner, ProjectNotActive, ProjectNotFound
from backend.models import Campaign, Connector, Event
from backend.platform import Platform
from backend.services.access.access import Role, UserPrincipal, system_access
from backend.services.accounts import administration, members, projects
from backend.services.accounts.stopping import DELETED_REASON
from backend.services.campaigns.campaigns import NewCampaign, create_campaign, read_rows
from backend.services.campaigns.csv_file import CsvFile
from backend.services.campaigns.feeder import CampaignFeeder
from backend.services.campaigns.plan import Plan
from backend.services.delivery.engine import DeliveryEngine
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from tests.providers.fakes import FakeSmtp, FakeTelegram
from tests.world import World, acting, make_engine, make_sweeper

TOKEN = {"botToken": "123456:test-token-0123456789abcdefghijklm"}
Change = Callable[[World], Awaitable[None]]


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as fake:
        yield fake


@pytest_asyncio.fixture
async def engine(platform: Platform, telegram: FakeTelegram) -> AsyncIterator[DeliveryEngine]:
    engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
    yield engine
    await engine.close(2)


def owner(world: World, *, is_admin: bool = False) -> UserPrincipal:
    return UserPrincipal(world.user_id, uuid4(), "owner@example.com", is_platform_admin=is_admin)


async def disable(world: World, *, is_active: bool = False) -> None:
    async with world.platform.database.transaction() as session:
        await projects.update_project(
            session, acting(owner(world), world.project_id), {"is_active": is_active}
        )


async def suspend(world: World, *, is_active: bool = False) -> None:
    async with world.platform.database.transaction() as session:
        admin = owner(world, is_admin=True)
        await administration.update_project(
            session, admin, world.project_id, plan=None, is_active=is_active
        )


async def switch_owner_off(world: World, *, is_active: bool = False) -> None:
    async with world.platform.database.transaction() as session:
        admin = owner(world, is_admin=True)
        await administration.update_user(session, admin, world.user_id, {"is_active": is_active})


async def delete(world: World) -> None:
    async with world.platform.database.transaction() as session:
        await projects.delete_project(session, acting(owner(world), world.project_id))


STOPS = pytest.mark.parametrize("stop", [disable, suspend, switch_owner_off])


async def drain(platform: Platform, engine: DeliveryEngine, seconds: float = 0.5) -> None:
    await platform.doorbell.drain()
    await engine.drain_slice(seconds)


async def send(world: World, connector: Connector, text: str = "hello", **fields: object) -> UUID:
    request = SendRequest(to="42", text=text, connector_id=connector.id, **fields)  # type: ignore[arg-type]
    return (await world.send(request)).message_id


async def queued(world: World) -> int:
    async with world.platform.database.raw.connection() as connection:
        query = "SELECT count(*) FROM send_queue WHERE project_id = %s"
        row = await (await connection.execute(query, (world.project_id,))).fetchone()
    assert row is not None
    count: int = row[0]
    return count


@STOPS
async def test_what_a_stopped_project_has_waiting_is_held_and_goes_on_later(
    stop: Callable[..., Awaitable[None]],
    platform: Platform,
    world: World,
    engine: DeliveryEngine,
    telegram: FakeTelegram,
) -> None:
    connector = await world.connector("telegram", TOKEN)
    await send(world, connector, "before")
    await drain(platform, engine)  # the account is known to be open
    message_id = await send(world, connector, "held")
    await stop(world)
    await drain(platform, engine)
    await make_sweeper(platform).sweep()
    await drain(platform, engine)
    assert [message.body["text"] for message in telegram.messages] == ["before"]
    assert (await world.message(message_id)).status == "queued"
    with pytest.raises(ProjectNotActive):
        await send(world, connector)
    await stop(world, is_active=True)
    await drain(platform, engine)
    await world.wait_for(message_id, "sent")


async def test_nothing_is_claimed_after_the_commit_whatever_is_cached(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    """As for a worker that was not told: its notice was lost."""
    connector = await world.connector("telegram", TOKEN)
    await send(world, connector, "before")
    await drain(platform, engine)
    message_id = await send(world, connector, "held")
    async with platform.database.raw.connection() as connection:
        await connection.execute(
            "UPDATE projects SET suspended_at = now() WHERE id = %s", (world.project_id,)
        )
    await drain(platform, engine)
    assert len(telegram.messages) == 1
    assert (await world.message(message_id)).status == "queued"


async def test_a_deleted_project_sends_nothing_and_what_waits_is_canceled(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    connector = await world.connector("telegram", TOKEN)
    later = datetime.now(UTC) + timedelta(hours=1)
    waiting = [await send(world, connector, f"text {number}") for number in range(5)]
    waiting += [await send(world, connector, "scheduled", send_at=later, priority="bulk")]
    await delete(world)
    await drain(platform, engine)
    assert telegram.messages == []
    assert await queued(world) == 0
    for message_id in waiting:
        message = await world.message(message_id)
        assert (message.status, message.error_reason) == ("canceled", DELETED_REASON)
        async with platform.database.session() as session:
            assert [item.type for item in await Event.list_for_message(session, message_id)] == [
                "message.canceled"
            ]
    with pytest.raises(ProjectNotFound):
        await send(world, connector)


async def test_what_comes_back_after_the_deletion_is_canceled_by_the_sweeper(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    connector = await world.connector("telegram", TOKEN)
    message_id = await send(world, connector)
    async with platform.database.raw.connection() as connection:
        # Deleted by a process that knew nothing of the queue, or accepted in the same moment.
        await connection.execute(
            "UPDATE projects SET deleted_at = now() WHERE id = %s", (world.project_id,)
        )
    await drain(platform, engine)
    assert telegram.messages == []
    await make_sweeper(platform).sweep()
    assert (await world.message(message_id)).status == "canceled"
    assert await queued(world) == 0


async def test_a_claim_is_taken_back_by_the_stop(
    platform: Platform, world: World, engine: DeliveryEngine
) -> None:
    connector = await world.connector("telegram", TOKEN)
    await send(world, connector)
    claims = await engine._claims.take([(1, connector.id)], 10)
    assert len(claims) == 1
    await disable(world)
    assert await engine._claims.mark_in_flight(claims) == set()


async def test_what_waits_for_a_mail_servers_connection_is_not_sent_after_the_stop(
    platform: Platform, world: World, engine: DeliveryEngine
) -> None:
    async with FakeSmtp(latency_s=0.3) as smtp:
        credentials = {
            "host": smtp.host,
            "port": smtp.port,
            "security": "none",
            "fromAddress": "a@example.com",
        }
        connector = await world.connector("smtp", credentials)
        message_ids = [
            (
                await world.send(
                    SendRequest(to="ada@example.com", text="hello", connector_id=connector.id)
                )
            ).message_id
            for _ in range(40)
        ]
        await platform.doorbell.drain()
        drained = asyncio.create_task(engine.drain_slice(0.5))
        while not smtp.connections:
            await asyncio.sleep(0.01)
        await disable(world)
        await drained
        await engine.drain_slice(0.5)
        # At most what each of the 8 connections had in hand; the others wait.
        assert len(smtp.mails) <= 16
        statuses = [(await world.message(message_id)).status for message_id in message_ids]
        assert statuses.count("queued") >= 24
        sent = len(smtp.mails)
        await disable(world, is_active=True)
        smtp.latency_s = 0.0
        while await queued(world):
            await drain(platform, engine, 0.2)
            await make_sweeper(platform).sweep()
        assert len(smtp.mails) == 40 > sent


async def test_a_project_with_another_active_owner_goes_on(
    platform: Platform, world: World, engine: DeliveryEngine, telegram: FakeTelegram
) -> None:
    other = await World.make(platform)
    async with platform.database.raw.connection() as connection:
        query = (
            "INSERT INTO project_members (project_id, user_id, role, created_at, updated_at) "
            "VALUES (%s, %s, 'owner', now(), now())"
        )
        await connection.execute(query, (world.project_id, other.user_id))
    connector = await world.connector("telegram", TOKEN)
    await switch_owner_off(world)
    message_id = await send(world, connector)
    await drain(platform, engine)
    await world.wait_for(message_id, "sent")
    # The active one may not leave the project to the one who was switched off.
    async with platform.database.session() as session:
        with pytest.raises(LastOwner):
            await members.change_role(
                session, acting(owner(other), world.project_id), other.user_id, Role.ADMIN
            )


async def campaign(world: World, connector: Connector) -> UUID:
    file = await CsvFile.open(io.BytesIO(b"to\n42\n43\n"), most_rows=10)
    plan = Plan(file.columns, {"to": "to"}, connector_id=connector.id, message="Hello")
    platform = world.platform
    caller, new = Sender(system_access(world.project_id), "live"), NewCampaign("Sale", plan)
    with await read_rows(platform.send_path, caller, new=new, file=file) as rows:
        async with platform.database.transaction() as session:
            created = await create_campaign(session, caller, new=new, rows=rows)
    return created.id


async def state_of(world: World, campaign_id: UUID) -> Campaign:
    async with world.platform.database.session() as session:
        result = await Campaign.find(session, world.project_id, campaign_id)
    assert result is not None
    return result


async def feed(platform: Platform) -> None:
    feeder = CampaignFeeder(platform.campaigns, ahead=100)
    while await feeder.feed():
        pass


async def feed_until(world: World, count: int) -> None:
    """Other tests' campaigns may have their turn first."""
    feeder = CampaignFeeder(world.platform.campaigns, ahead=100)
    while await queued(world) < count:
        assert await feeder.feed()


@STOPS
async def test_a_stopped_projects_campaign_is_not_fed_and_goes_on_later(
    stop: Callable[..., Awaitable[None]], platform: Platform, world: World
) -> None:
    connector = await world.connector("sandbox")
    campaign_id = await campaign(world, connector)
    await stop(world)
    await feed(platform)
    assert await queued(world) == 0
    assert (await state_of(world, campaign_id)).state == "running"
    with pytest.raises(ProjectNotActive):
        await campaign(world, connector)
    await stop(world, is_active=True)
    await feed_until(world, 2)


async def test_a_deleted_projects_campaigns_are_canceled(platform: Platform, world: World) -> None:
    connector = await world.connector("sandbox")
    campaign_id = await campaign(world, connector)
    await feed_until(world, 2)
    await delete(world)
    ended = await state_of(world, campaign_id)
    assert (ended.state, ended.reason, ended.accepted_rows) == ("canceled", DELETED_REASON, 2)
    assert await queued(world) == 0
    await feed(platform)
    assert await queued(world) == 0


async def test_the_owner_cannot_undo_what_the_administrator_has_switched_off(world: World) -> None:
    await suspend(world)
    with pytest.raises(ProjectNotActive, match="administrator"):
        await disable(world, is_active=True)
    await disable(world)  # already off: no way round
    with pytest.raises(ProjectNotActive):
        await disable(world, is_active=True)
    await suspend(world, is_active=True)
    await world.send(
        SendRequest(to="sandbox:delivered", text="x", connector_id=(await world.connector()).id)
    )
