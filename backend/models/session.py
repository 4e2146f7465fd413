"""The database as a process holds it: an ORM engine for most things, a raw pool for the send path.

Only edges commit (route, page event, worker job): they open `transaction()` and hand the session
to services.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

RawPool = AsyncConnectionPool[AsyncConnection[TupleRow]]
# Names the connections in pg_stat_activity.
_APPLICATION: Final = "messagejs"
_CHANGES: Final = "changes"
# A process that is stopped, or whose machine is gone, in the middle of a transaction must not keep its
# locks (the sweeper's above all). No transaction of ours waits for anything but the database.
_LIMIT_IDLING: Final = "SET idle_in_transaction_session_timeout = '15s'"


@dataclass(frozen=True, slots=True)
class Change:
    """A row that processes cache has changed; told to all of them once it is committed."""

    kind: Literal["key", "connector", "template", "project", "route", "session"]
    id: UUID


def announce(session: AsyncSession, change: Change) -> None:
    """Have `change` told to every process after this session's commit."""
    session.info.setdefault(_CHANGES, set()).add(change)


def sqlalchemy_url(database_url: str) -> str:
    """Return the URL with SQLAlchemy's name of the psycopg driver."""
    scheme, _, rest = database_url.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in {"postgresql", "postgres"} else database_url


def _limit_idling(connection: Any, _record: object) -> None:
    # SQLAlchemy's connection has psycopg's cursor; outside a transaction, so that a rollback keeps it.
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(_LIMIT_IDLING)
    cursor.close()
    connection.autocommit = False


async def _limit_idling_of_pool(connection: AsyncConnection[TupleRow]) -> None:
    await connection.execute(_LIMIT_IDLING)


class Database:
    """Opens lazily: making one connects to nothing."""

    def __init__(self, database_url: str, *, pool_size: int = 20) -> None:
        orm_size = max(1, pool_size // 2)
        self.engine: AsyncEngine = create_async_engine(
            make_url(sqlalchemy_url(database_url)),
            pool_size=orm_size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=True,
            hide_parameters=True,  # errors reach the log; what was being stored must not
            connect_args={"application_name": _APPLICATION, "connect_timeout": 5},
        )
        event.listen(self.engine.sync_engine, "connect", _limit_idling)
        self.raw: RawPool = AsyncConnectionPool(
            database_url,
            min_size=1,
            max_size=max(2, pool_size - orm_size),
            open=False,
            timeout=10,
            # A reconnect attempt every second or so; it never gives up for good.
            reconnect_timeout=30,
            # The raw pool's statements are each one transaction of their own.
            kwargs={"autocommit": True, "application_name": _APPLICATION, "connect_timeout": 5},
            configure=_limit_idling_of_pool,
        )
        self.on_changes: Callable[[set[Change]], Awaitable[None]] | None = None

    async def open(self) -> None:
        """Start the raw pool; it connects in the background."""
        await self.raw.open(wait=False)

    async def close(self) -> None:
        await self.raw.close(timeout=5)
        await self.engine.dispose()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """For reading: whatever was changed is rolled back at the end."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Commits at the end, rolls back on an exception; then tells what was announced."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            async with session.begin():
                yield session
            changes = session.info.get(_CHANGES)
        if changes and self.on_changes is not None:
            await self.on_changes(changes)
