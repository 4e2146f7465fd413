"""Monthly partitions of the tables that grow; made ahead, so that DEFAULT stays empty."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection, sql

PARTITIONED: Final = ("messages", "attempts", "events")
# Months made ahead of the current one. A maintenance job that is down for a quarter loses nothing:
# rows without a partition go to DEFAULT, and /readyz says so.
MONTHS_AHEAD: Final = 3
# Updates of a message stay on its page (HOT) when the page keeps room for them.
MESSAGES_FILLFACTOR: Final = 80
# Rows whose ids say another time than this are no month's: whatever wrote them, they stay in
# DEFAULT.
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
# Months of one table that are made in one round for rows in DEFAULT; the next round makes more.
_MOST_MONTHS: Final = 12
_MONTHS_MADE: Final = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s::regclass
"""
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '2s'"
_PARTITION_NAME: Final = re.compile(rf"({'|'.join(PARTITIONED)})_(default|p\d{{6}})")


def is_partition(table: str) -> bool:
    return _PARTITION_NAME.fullmatch(table) is not None


def first_id(instant: datetime) -> UUID:
    """Return the smallest UUIDv7-ordered value of `instant`: its milliseconds, then zeros."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


def month_start(now: datetime, months: int = 0) -> datetime:
    """Return the first instant (UTC) of the month `months` after the one of `now`."""
    index = now.year * 12 + now.month - 1 + months
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)


def partition_statements(now: datetime | None = None) -> list[str]:
    """Return DDL that makes the missing partitions of this month and the next ones; idempotent."""
    now = now or datetime.now(UTC)
    statements = []
    for months in range(MONTHS_AHEAD + 1):
        start, end = month_start(now, months), month_start(now, months + 1)
        for table in PARTITIONED:
            options = f" WITH (fillfactor = {MESSAGES_FILLFACTOR})" if table == "messages" else ""
            statements.append(
                f"CREATE TABLE IF NOT EXISTS {table}_p{start:%Y%m} PARTITION OF {table} "
                f"FOR VALUES FROM ('{first_id(start)}') TO ('{first_id(end)}'){options}"
            )
    return statements


async def months_made(connection: AsyncConnection[Any], table: str) -> set[str]:
    """Return the months that have a partition, as "202611"."""
    rows = await (await connection.execute(_MONTHS_MADE, (table,))).fetchall()
    return {name.removeprefix(f"{table}_p") for (name,) in rows if name != f"{table}_default"}


async def missing_months(
    connection: AsyncConnection[Any], table: str, now: datetime
) -> list[datetime]:
    """Return the starts of the months to make: this one, those ahead, and those of rows in
    DEFAULT.
    """
    created = await months_made(connection, table)
    expected = [month_start(now, months) for months in range(MONTHS_AHEAD + 1)]
    expected += [
        start for start in await _months_in_default(connection, table) if start not in expected
    ]
    return [start for start in expected if f"{start:%Y%m}" not in created]


async def make_partition(connection: AsyncConnection[Any], table: str, start: datetime) -> int:
    """Make the partition of the month at `start` with the rows of it that DEFAULT holds; returns
    how many.

    Attached rather than made in place, which sends need not wait for. Only when rows move is the
    whole table
    locked: anyone who waited for one of them would look for it where it was. Raises
      LockNotAvailable
      after 2 s.
    """
    low, high = first_id(start), first_id(month_start(start, 1))
    parent, default = sql.Identifier(table), sql.Identifier(f"{table}_default")
    partition = sql.Identifier(f"{table}_p{start:%Y%m}")
    options = sql.SQL(f"WITH (fillfactor = {MESSAGES_FILLFACTOR})" if table == "messages" else "")
    async with connection.transaction():
        await connection.execute(_LOCK_TIMEOUT)
        await connection.execute(
            sql.SQL("LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE").format(parent)
        )
        if f"{start:%Y%m}" in await months_made(connection, table):  # another process was quicker
            return 0
        find = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE id >= %s AND id < %s)").format(default)
        row = await (await connection.execute(find, (low, high))).fetchone()
        if row is not None and row[0]:
            await connection.execute(
                sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(parent)
            )
        create = sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL) {}").format(
            partition, parent, options
        )
        await connection.execute(create)
        await connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(default))
        move = sql.SQL(
            "WITH moved AS (DELETE FROM {} WHERE id >= %s AND id < %s RETURNING *) INSERT INTO {}"
            " SELECT * FROM moved"
        ).format(default, partition)
        moved = (await connection.execute(move, (low, high))).rowcount
        attach = sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            parent, partition, sql.Literal(str(low)), sql.Literal(str(high))
        )
        await connection.execute(attach)
    return moved


async def _months_in_default(connection: AsyncConnection[Any], table: str) -> list[datetime]:
    find = sql.SQL("SELECT id FROM {} WHERE id >= %s AND id < %s ORDER BY id LIMIT 1").format(
        sql.Identifier(f"{table}_default")
    )
    months: list[datetime] = []
    start = _EARLIEST
    while len(months) < _MOST_MONTHS:
        row = await (
            await connection.execute(find, (first_id(start), first_id(_LATEST)))
        ).fetchone()
        if row is None:
            break
        month = month_start(datetime.fromtimestamp((row[0].int >> 80) / 1000, UTC))
        months.append(month)
        start = month_start(month, 1)
    return months
