"""What keys have done: added to the rows by any number of processes, kept while the database is
away.
"""

from __future__ import annotations

from uuid import UUID

from psycopg_pool import AsyncConnectionPool
from sqlmodel import col, select

from backend.models import ApiKey
from backend.models.session import RawPool
from backend.platform import Platform
from backend.services.keys.key_usage import KeyUsage
from tests.world import World


async def _made_key(world: World) -> UUID:
    await world.key()
    async with world.platform.database.session() as session:
        return (
            await session.exec(select(ApiKey.id).where(col(ApiKey.project_id) == world.project_id))
        ).one()


async def _counts(platform: Platform, world: World, key_id: UUID) -> tuple[int, int]:
    async with platform.database.session() as session:
        key = await ApiKey.find(session, world.project_id, key_id)
    assert key is not None
    assert key.last_used_at is not None
    return key.total_requests, key.failed_requests


async def test_two_processes_add_to_one_count(platform: Platform) -> None:
    world = await World.make(platform)
    key_id = await _made_key(world)
    here, there = KeyUsage(platform.database.raw), KeyUsage(platform.database.raw)
    for _ in range(3):
        here.note(key_id)
    there.note(key_id, is_failed=True)
    await here.flush()
    await there.flush()
    await here.flush()  # nothing is added twice
    assert await _counts(platform, world, key_id) == (4, 1)


async def test_what_the_database_did_not_take_is_written_later(platform: Platform) -> None:
    world = await World.make(platform)
    key_id = await _made_key(world)
    pool: RawPool = AsyncConnectionPool(
        platform.settings.require_database_url(),
        min_size=1,
        max_size=1,
        open=False,
        kwargs={"autocommit": True},
    )
    usage = KeyUsage(pool)
    usage.note(key_id, is_failed=True)
    await usage.flush()  # not open yet: it has no connection to give
    usage.note(key_id)
    async with pool:
        await usage.flush()
    assert await _counts(platform, world, key_id) == (2, 1)
