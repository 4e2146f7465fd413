"""Removal: messages past their project's retention go, with their attempts, events and provider
ids.

A month's partition is dropped when every project in it is past its retention and the queue knows
none of its messages; otherwise rows go in batches, except those that the queue knows. What
analytics have counted stays.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg import sql

from backend.ledger.removal import ProviderRefKey, remove, remove_dead_letters, remove_refs
from backend.models.partitions import first_id, month_start
from backend.outages import is_outage
from backend.services.retention.policies import (
    SETTLED_AFTER,
    Defaults,
    RemovalPolicy,
    removal_policies,
)

log = structlog.get_logger()
_T = TypeVar("_T")

_STEP: Final = 2000
_PAUSE_S: Final = 0.05
_NOWHERE: Final = UUID(int=0)
_MONTH: Final = re.compile(r"_p(\d{4})(\d{2})$")
# Sends wait behind anyone who waits for the lock on a whole table: rather try again in an hour.
_PATIENCE: Final = "SET LOCAL lock_timeout = '500ms'"

_PARTITIONS: Final = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %s::regclass ORDER BY c.relname
"""
# Jumps through the index (project_id, id) from one project to the next.
_OWNERS: Final = """
WITH RECURSIVE owners AS (
    (SELECT project_id FROM {table} ORDER BY project_id LIMIT 1)
    UNION ALL
    SELECT n.project_id FROM owners o CROSS JOIN LATERAL (
        SELECT project_id FROM {table} WHERE project_id > o.project_id ORDER BY project_id LIMIT 1
    ) n
)
SELECT project_id FROM owners
"""
_IS_ALIVE: Final = (
    "SELECT EXISTS (SELECT FROM send_queue WHERE message_id >= %s AND message_id < %s)"
)
# As the trigger on DELETE counts (migration 0013).
_COUNT: Final = """
INSERT INTO rollup_deltas (project_id, slot, connector_id, connector_type, mode, measure, value,
    messages, last_at)
SELECT project_id, date_bin('15 minutes', created_at, '2000-01-01+00'), connector_id,
    min(connector_type), mode,
    'removed', status, count(*), NULL
FROM {table} GROUP BY 1, 2, 3, 5, 7
"""
# From the messages that there are still: few, or the first of them has a row in it.
_IS_NEEDED: Final = """
SELECT EXISTS (
    SELECT FROM messages m CROSS JOIN LATERAL (SELECT FROM {table} r WHERE r.message_id = m.id
        LIMIT 1) r
    WHERE m.id < %s
)
"""

_EXPIRED: Final = f"""
SELECT m.id, q.message_id IS NULL FROM messages m LEFT JOIN send_queue q ON q.message_id = m.id
WHERE m.project_id = %(project_id)s AND m.id > %(after)s::uuid AND m.id < %(before)s::uuid
    ORDER BY m.id LIMIT {_STEP}
"""  # noqa: S608 (made of constants)
# What one run looks at: all come by within days, and none waits for them.
_REFS_STEPS: Final = 100
_FIRST_REF: Final = ProviderRefKey(_NOWHERE, "")


@dataclass(frozen=True, slots=True)
class _Partition:
    name: str
    low: UUID
    high: UUID

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.name)


class Removal:
    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._ref = _FIRST_REF

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> int:
        """Remove all that is due; returns the number of messages that went one by one."""
        removed = 0
        policies = await removal_policies(connection, self._defaults)
        if not policies:
            return 0
        for partition in await self._past(connection, "messages"):
            await self._isolated(
                self._drop_messages(connection, partition, policies), partition=partition.name
            )
        for policy in policies:
            removed += (
                await self._isolated(
                    self._remove_rows(connection, policy), project_id=str(policy.project_id)
                )
                or 0
            )
        for parent in ("attempts", "events"):
            for partition in await self._past(connection, parent):
                await self._isolated(
                    self._drop_details(connection, partition), partition=partition.name
                )
        await self._forget_refs(connection)
        if removed:
            log.info("retention.removed", messages=removed)
        return removed

    async def _isolated(self, step: Awaitable[_T], **of: str) -> _T | None:
        """One project or month that fails is tried again in an hour; the others go on."""
        try:
            return await step
        except Exception as exc:
            if is_outage(exc):
                raise
            log.exception("retention.removal_failed", **of)
            return None

    async def _past(
        self, connection: psycopg.AsyncConnection[Any], parent: str
    ) -> list[_Partition]:
        """Return the partitions that nothing is inserted into any more, oldest first."""
        cursor = await connection.execute("SELECT now()")
        row = await cursor.fetchone()
        now: datetime = row[0] if row is not None else datetime.now(UTC)
        past = []
        for (name,) in await (await connection.execute(_PARTITIONS, (parent,))).fetchall():
            if (month := _MONTH.search(name)) is None:
                continue
            start = datetime(int(month[1]), int(month[2]), 1, tzinfo=UTC)
            end = month_start(start, 1)
            if end < now - SETTLED_AFTER:
                past.append(_Partition(name, first_id(start), first_id(end)))
        return past

    async def _drop_messages(
        self,
        connection: psycopg.AsyncConnection[Any],
        partition: _Partition,
        policies: Sequence[RemovalPolicy],
    ) -> None:
        expired = {policy.project_id for policy in policies if policy.before >= partition.high}
        owners = await connection.execute(sql.SQL(_OWNERS).format(table=partition.table))
        if any(row[0] not in expired for row in await owners.fetchall()) or await _is_alive(
            connection, partition
        ):
            return
        try:
            async with connection.transaction():
                await connection.execute(_PATIENCE)
                # Nobody changes a row of it while they are counted; then nobody reads one either.
                await connection.execute(
                    sql.SQL("LOCK TABLE {} IN SHARE MODE").format(partition.table)
                )
                counted = await connection.execute(sql.SQL(_COUNT).format(table=partition.table))
                await connection.execute(
                    sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(partition.table)
                )
                # Something may have been put back into the queue before the lock.
                if await _is_alive(connection, partition):
                    raise psycopg.Rollback
                await connection.execute(sql.SQL("DROP TABLE {}").format(partition.table))
                await remove_dead_letters(connection, partition.low, partition.high)
                log.info(
                    "retention.partition_dropped", partition=partition.name, counts=counted.rowcount
                )
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            log.info("retention.partition_busy", partition=partition.name)

    async def _drop_details(
        self, connection: psycopg.AsyncConnection[Any], partition: _Partition
    ) -> None:
        """Drop a partition of attempts or events when no message is left that has a row in it."""
        cursor = await connection.execute(
            sql.SQL(_IS_NEEDED).format(table=partition.table), (partition.high,)
        )
        row = await cursor.fetchone()
        if row is None or row[0]:
            return
        try:
            async with connection.transaction():
                await connection.execute(_PATIENCE)
                await connection.execute(sql.SQL("DROP TABLE {}").format(partition.table))
                log.info("retention.partition_dropped", partition=partition.name)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            log.info("retention.partition_busy", partition=partition.name)

    async def _remove_rows(
        self, connection: psycopg.AsyncConnection[Any], policy: RemovalPolicy
    ) -> int:
        removed = 0
        after = _NOWHERE
        while True:
            expected = {"project_id": policy.project_id, "after": after, "before": policy.before}
            rows = await (await connection.execute(_EXPIRED, expected)).fetchall()
            ids = [message_id for message_id, is_idle in rows if is_idle]
            if ids:
                async with connection.transaction():
                    removed += await remove(connection, ids)
            if len(rows) < _STEP:
                return removed
            after = rows[-1][0]
            await asyncio.sleep(_PAUSE_S)

    async def _forget_refs(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Walk on through the providers' ids, and round again."""
        for _ in range(_REFS_STEPS):
            following = await remove_refs(connection, self._ref)
            if following is None:
                self._ref = _FIRST_REF
                return
            self._ref = following


async def _is_alive(connection: psycopg.AsyncConnection[Any], partition: _Partition) -> bool:
    row = await (await connection.execute(_IS_ALIVE, (partition.low, partition.high))).fetchone()
    return row is None or bool(row[0])
