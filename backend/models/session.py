"""The database as a process holds it: an ORM engine for most things, a raw pool for the send path.

Only edges commit (route, page event, worker job): they open `transaction()` and hand the session
to services.
"""

from __future__ import annotations

import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.loaders import read_what_is_there

RawPool = AsyncConnectionPool[AsyncConnection[TupleRow]]
# Names the connections in pg_stat_activity.
_APPLICATION: Final = "messagejs"
_CHANGES: Final = "changes"
# A process that is stopped, or whose machine is gone, in the middle of a transaction must not keep
# its locks (the sweeper's above all). No transaction of ours waits for anything but the database.
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
    """Return the URL with SQLAlchemy's name of the psycopg driver, and several hosts as it wants
    them.
    """
    scheme, _, rest = database_url.partition("://")
    if scheme not in {"postgresql", "postgres"}:
        return database_url
    parts = urlsplit(f"postgresql+psycopg://{rest}")
    credentials, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return f"postgresql+psycopg://{rest}"
    ported = [host if urlsplit(f"//{host}").port else f"{host}:5432" for host in hosts.split(",")]
    query = "&".join([*(f"host={host}" for host in ported), *filter(None, [parts.query])])
    return f"postgresql+psycopg://{credentials}{at}{parts.path or '/'}?{query}"


def _set_up(connection: Any, _record: object) -> None:
    read_what_is_there(connection.driver_connection)
    # SQLAlchemy's connection has psycopg's cursor; outside a transaction, so that a rollback keeps
    # it.
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(_LIMIT_IDLING)
    cursor.close()
    connection.autocommit = False


async def _set_up_of_pool(connection: AsyncConnection[TupleRow]) -> None:
    read_what_is_there(connection)
    await connection.execute(_LIMIT_IDLING)


def _has_said_something(connection: AsyncConnection[TupleRow]) -> bool:
    """Whether there is something to read, such as the end of the connection.

    A system call, no round trip.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


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
        event.listen(self.engine.sync_engine, "connect", _set_up)
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
            configure=_set_up_of_pool,
            check=self._check_at_checkout,
        )
        self.on_changes: Callable[[set[Change]], Awaitable[None]] | None = None

    async def _check_at_checkout(self, connection: AsyncConnection[TupleRow]) -> None:
        """Keep a connection whose server has gone, as after a restart, from anyone who asks for
        one.
        """
        if not _has_said_something(connection):
            return
        try:
            await self.raw.check_connection(connection)
        except Exception:
            # The others were cut off with it. One by one the pool would take seconds to find out.
            await self.raw.check()
            raise

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


async def driver_of(session: AsyncSession) -> AsyncConnection[Any]:
    """Return the session's connection as psycopg has it, within the same transaction."""
    connection = await (await session.connection()).get_raw_connection()
    return cast("AsyncConnection[Any]", connection.driver_connection)
