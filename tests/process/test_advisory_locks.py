"""Advisory locks: one number each, in one place, and only one holder at a time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import create_engine

from backend.models.session import sqlalchemy_url
from backend.platform import Platform
from backend.process import advisory_locks
from backend.process.advisory_locks import (
    AdvisoryLock,
    hold,
    try_hold,
    try_lock,
    try_lock_session,
    unlock_session,
    wait_for_lock,
)

ROOT: Final = Path(__file__).parents[2]
PLACE: Final = Path(advisory_locks.__file__)
# The functions of Postgres, and numbers written as those of the enum are.
BARE: Final = re.compile(r"pg_(try_)?advisory|\b7_?262_?0\d\d\b")


def test_no_two_locks_share_a_number() -> None:
    numbers = [lock.value for lock in AdvisoryLock.__members__.values()]
    assert len(numbers) == len(set(numbers)) == len(AdvisoryLock)


def test_no_other_file_has_a_number_or_takes_a_lock_by_itself() -> None:
    files = [
        file
        for folder in ("backend", "workers", "messagejs_app", "bench")
        for file in (ROOT / folder).rglob("*.py")
        if file != PLACE
    ]
    assert len(files) > 100
    assert [file for file in files if BARE.search(file.read_text())] == []


async def test_a_lock_of_a_session_is_held_within_the_block_only(platform: Platform) -> None:
    pool = platform.database.raw
    async with pool.connection() as ours, pool.connection() as theirs:
        for held in (hold(ours, AdvisoryLock.MIGRATION), try_hold(ours, AdvisoryLock.MIGRATION)):
            async with held, try_hold(theirs, AdvisoryLock.MIGRATION) as is_theirs:
                assert is_theirs is False
        async with try_hold(theirs, AdvisoryLock.MIGRATION) as is_theirs:
            assert is_theirs is True


async def test_a_lock_is_released_when_the_block_fails(platform: Platform) -> None:
    pool = platform.database.raw
    async with pool.connection() as ours, pool.connection() as theirs:
        with pytest.raises(LookupError):
            async with try_hold(ours, AdvisoryLock.MIGRATION):
                raise LookupError("broken")
        async with try_hold(theirs, AdvisoryLock.MIGRATION) as is_theirs:
            assert is_theirs is True


async def test_places_of_one_number_do_not_wait_for_each_other(platform: Platform) -> None:
    pool = platform.database.raw
    async with (
        pool.connection() as ours,
        pool.connection() as theirs,
        try_hold(ours, AdvisoryLock.MAINTENANCE, 101),
        try_hold(theirs, AdvisoryLock.MAINTENANCE, 102) as is_other_place,
        try_hold(theirs, AdvisoryLock.MAINTENANCE, 101) as is_same_place,
    ):
        assert (is_other_place, is_same_place) == (True, False)


async def test_a_lock_of_a_transaction_ends_with_it(platform: Platform) -> None:
    pool = platform.database.raw
    async with pool.connection() as ours, pool.connection() as theirs:
        async with ours.transaction():
            assert await try_lock(ours, AdvisoryLock.MIGRATION)
            async with theirs.transaction():
                assert not await try_lock(theirs, AdvisoryLock.MIGRATION)
        async with theirs.transaction():
            assert await try_lock(theirs, AdvisoryLock.MIGRATION)


async def test_psycopg_and_sqlalchemy_mean_the_same_lock(platform: Platform) -> None:
    raw = platform.database.raw
    async with raw.connection() as theirs:
        async with platform.database.session() as session:
            await wait_for_lock(await session.connection(), AdvisoryLock.FIRST_USER)
            async with theirs.transaction():
                assert not await try_lock(theirs, AdvisoryLock.FIRST_USER)
            await session.rollback()
        engine = create_engine(sqlalchemy_url(platform.settings.require_database_url()))
        with engine.connect() as connection:
            assert try_lock_session(connection, AdvisoryLock.MIGRATION)
            async with try_hold(theirs, AdvisoryLock.MIGRATION) as is_theirs:
                assert is_theirs is False
            unlock_session(connection, AdvisoryLock.MIGRATION)
        engine.dispose()
        async with try_hold(theirs, AdvisoryLock.MIGRATION) as is_theirs:
            assert is_theirs is True
