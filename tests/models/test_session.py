"""Transactions: all or nothing, and what was announced is told after the commit only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from backend.ids import new_id
from backend.models import User
from backend.models.session import Change, Database, announce, sqlalchemy_url
from backend.settings import Settings


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.require_database_url(), pool_size=4)
    await database.open()
    yield database
    await database.close()


def _user() -> User:
    return User(email=f"{new_id()}@example.com", password_hash="x")


async def _exists(database: Database, user_id: UUID) -> bool:
    async with database.session() as session:
        return await User.find(session, user_id) is not None


async def test_a_transaction_commits_at_its_end(database: Database) -> None:
    user = _user()
    async with database.transaction() as session:
        session.add(user)
        await session.flush()
        assert not await _exists(database, user.id)
    assert await _exists(database, user.id)


async def test_an_exception_rolls_everything_back_and_nothing_is_told(database: Database) -> None:
    reported: list[set[Change]] = []

    async def hear(changes: set[Change]) -> None:
        reported.append(changes)

    async def break_off(user: User) -> None:
        async with database.transaction() as session:
            session.add(user)
            announce(session, Change("key", user.id))
            await session.flush()
            raise RuntimeError("halfway")

    database.on_changes = hear
    user = _user()
    with pytest.raises(RuntimeError, match="halfway"):
        await break_off(user)
    assert not await _exists(database, user.id)
    assert reported == []


async def test_changes_are_told_once_each_and_after_the_commit(database: Database) -> None:
    user = _user()
    seen: list[tuple[set[Change], bool]] = []

    async def hear(changes: set[Change]) -> None:
        seen.append((changes, await _exists(database, user.id)))

    database.on_changes = hear
    async with database.transaction() as session:
        session.add(user)
        announce(session, Change("key", user.id))
        announce(session, Change("key", user.id))
        announce(session, Change("project", user.id))
        assert seen == []
    assert seen == [({Change("key", user.id), Change("project", user.id)}, True)]


async def test_a_reading_session_keeps_no_change(database: Database) -> None:
    user = _user()
    async with database.session() as session:
        session.add(user)
        await session.flush()
    assert not await _exists(database, user.id)


async def test_a_database_error_does_not_show_the_statements_parameters(database: Database) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with database.engine.connect() as connection:
            await connection.execute(
                text("SELECT nowhere FROM users WHERE email = :email"), {"email": "hunter2"}
            )
    assert "nowhere" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_making_a_database_connects_to_nothing() -> None:
    """A server that is down must not keep a process from starting."""
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    async with asyncio.timeout(20):
        await database.open()
        await database.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://u:p@h:1/d?sslmode=require",
            "postgresql+psycopg://u:p@h:1/d?sslmode=require",
        ),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
    ],
)
def test_sqlalchemy_is_told_which_driver(url: str, expected: str) -> None:
    assert sqlalchemy_url(url) == expected


async def test_a_process_that_stops_inside_a_transaction_does_not_keep_its_locks(
    database: Database,
) -> None:
    """Postgres ends such a connection after the time it shows; a rollback does not take the limit
    back.
    """
    show = "SHOW idle_in_transaction_session_timeout"
    for _ in range(2):
        async with database.session() as session:
            assert (await session.exec(text(show))).scalar_one() == "15s"  # type: ignore[call-overload]
    async with database.raw.connection() as connection:
        assert await (await connection.execute(show)).fetchone() == ("15s",)
