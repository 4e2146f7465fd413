"""Step 9, applying: receipts move their messages by rank, each once, whatever order they come in.

One transaction takes receipts, locks their messages, decides (settle.py) and writes. A receipt is
deleted by the transaction that applies it; one whose message is not known yet, or is being handed
over right now, stays. Queue rows are locked before messages, as the recorder does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog

from backend.ledger.onward import FailedWay, id_range, leave_failed_ways
from backend.ledger.receipt_changes import Change, Told, change_of, suppress, write_changes
from backend.models.session import RawPool
from backend.outages import is_outage
from backend.process.group_commit import GroupCommit
from backend.queueing import Doorbell, Turn
from backend.status import FAILURES

log = structlog.get_logger()

BATCH: Final = 500
_WAITING_LIMIT: Final = 1_000_000
# How long a receipt whose message nobody knows is kept: it may be of a send whose answer is still
# to come, or of another system that sends through the same account.
_PENDING_FOR_S: Final = 24 * 3600.0
_AGAIN_S: Final = 1.0

_COLUMNS: Final = """
    r.id, coalesce(r.message_id, p.message_id), r.project_id, r.connector_id, r.provider_message_id, r.status, r.code,
    r.reason, r.suppress, r.happened_at, r.created_at
"""
_FROM: Final = """
FROM pending_receipts r LEFT JOIN provider_refs p
    ON p.connector_id = r.connector_id AND p.provider_message_id = r.provider_message_id
"""
# Skipping what somebody else is at: they decide it.
_TAKE: Final = (
    f"SELECT {_COLUMNS} {_FROM} WHERE r.id = ANY(%s) ORDER BY r.id FOR UPDATE OF r SKIP LOCKED"
)
_TAKE_DUE: Final = f"""
SELECT {_COLUMNS} {_FROM}
WHERE r.due_at <= now() ORDER BY r.due_at LIMIT %s FOR UPDATE OF r SKIP LOCKED
"""

_DUE: Final = "SELECT id FROM pending_receipts WHERE due_at <= now() ORDER BY due_at LIMIT %s"

_LOCK_QUEUE: Final = """
SELECT message_id, state FROM send_queue WHERE message_id = ANY(%(ids)s) ORDER BY message_id
    FOR UPDATE
"""
_LOCK_MESSAGES: Final = """
SELECT id, project_id, connector_id, connector_type, recipient, provider_message_id, created_at,
    jsonb_array_length(route -> 'steps') - 1 > step, (route ->> 'fallbackAfterS')::float8,
        route -> 'steps',
    status, sent_at, delivered_at, read_at, failed_at, error_code, error_reason
FROM messages
WHERE id = ANY(%(ids)s) AND id >= %(lowest)s::uuid AND id <= %(highest)s::uuid ORDER BY id
    FOR UPDATE
"""

_DROP: Final = "DELETE FROM pending_receipts WHERE id = ANY(%s)"
# Looked at again after half its age, so that strangers' receipts cost little; a known message's
# after a second.
_POSTPONE: Final = """
UPDATE pending_receipts
SET due_at = now() + make_interval(secs => CASE WHEN id = ANY(%(busy)s) THEN %(again_s)s
    ELSE greatest(%(again_s)s, 0.5 * extract(epoch FROM now() - created_at)) END)
WHERE id = ANY(%(ids)s)
"""
_EXPIRE: Final = """
DELETE FROM pending_receipts WHERE id = ANY(%(ids)s)
    AND created_at < now() - make_interval(secs => %(kept_s)s)
"""


class ReceiptApplier:
    def __init__(self, pool: RawPool, doorbell: Doorbell) -> None:
        self._pool = pool
        self._doorbell = doorbell
        self._group: GroupCommit[UUID, None] = GroupCommit(
            self._apply_batch, name="receipts", waiting_limit=_WAITING_LIMIT, batch_size=BATCH
        )

    def apply_soon(self, receipt_ids: Sequence[UUID]) -> list[asyncio.Future[None]]:
        """Apply stored receipts in the background; what fails here is done by the workers'
        rounds.
        """
        futures = [self._group.submit(receipt_id) for receipt_id in receipt_ids]
        for future in futures:
            future.add_done_callback(_hear_failure)
        return futures

    async def apply_due(self, most: int = BATCH) -> int:
        """Apply up to `most` receipts whose time has come; returns how many were looked at."""
        try:
            return await self._in_transaction(_TAKE_DUE, most)
        except Exception as exc:
            if is_outage(exc):
                raise
            log.warning("receipts.batch_refused", error=type(exc).__name__)
            return await self._one_by_one(most)

    async def drain(self) -> None:
        await self._group.drain()

    async def _one_by_one(self, most: int) -> int:
        """One receipt the database refuses must not keep the others waiting."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_DUE, (most,))
            due = [row[0] for row in await cursor.fetchall()]
        for receipt_id in due:
            try:
                await self._in_transaction(_TAKE, [receipt_id])
            except Exception as exc:
                if is_outage(exc):
                    raise
                # Not the error's text: Postgres quotes the row in it.
                log.error("receipts.refused", receipt_id=str(receipt_id), error=type(exc).__name__)  # noqa: TRY400
                async with self._pool.connection() as connection, connection.transaction():
                    await _postpone(connection, [receipt_id], busy=[])
        return len(due)

    async def _apply_batch(self, batch: Sequence[UUID]) -> Sequence[None]:
        await self._in_transaction(_TAKE, list(batch))
        return [None] * len(batch)

    async def _in_transaction(self, statement: str, argument: Any) -> int:
        async with self._pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(statement, (argument,), prepare=True)
            told = [Told(*row) for row in await cursor.fetchall()]
            turns = await _apply(connection, told) if told else []
        self._doorbell.ring(turns)
        return len(told)


async def _apply(connection: psycopg.AsyncConnection[Any], told: Sequence[Told]) -> list[Turn]:
    """Apply what can be applied, keep what cannot yet; returns the turns to ring after the
    commit.
    """
    unknown = [one.id for one in told if one.message_id is None]
    # A message that is not there (another project's, or dropped by retention) takes its receipts
    # with it.
    changes = await _locked(connection, [one for one in told if one.message_id is not None])
    await suppress(connection, changes)
    left = await leave_failed_ways(
        connection, [way for change in changes if (way := _failed_way(change)) is not None]
    )
    busy = [one.id for change in changes for one in change.deferred]
    for change in changes:
        change.goes_on = change.message_id in left.turns
        if change.goes_on:
            change.take_back_failures()
        elif change.message_id in left.busy:
            busy += [one.id for one in change.take_back_failures()]
    await write_changes(connection, changes)
    await _tidy(connection, told, unknown=unknown, busy=busy)
    return list(left.turns.values())


async def _tidy(
    connection: psycopg.AsyncConnection[Any],
    told: Sequence[Told],
    *,
    unknown: list[UUID],
    busy: list[UUID],
) -> None:
    waiting = {*unknown, *busy}
    await connection.execute(_DROP, ([one.id for one in told if one.id not in waiting],))
    if waiting:
        await _postpone(connection, list(waiting), busy=busy)


async def _postpone(
    connection: psycopg.AsyncConnection[Any], receipt_ids: Sequence[UUID], *, busy: Sequence[UUID]
) -> None:
    parameters = {
        "ids": list(receipt_ids),
        "busy": list(busy),
        "again_s": _AGAIN_S,
        "kept_s": _PENDING_FOR_S,
    }
    await connection.execute(_POSTPONE, parameters)
    await connection.execute(_EXPIRE, parameters)


async def _locked(connection: psycopg.AsyncConnection[Any], known: Sequence[Told]) -> list[Change]:
    """Return each message with its receipts, as it is now that nobody else can change it."""
    by_message: dict[UUID, list[Told]] = {}
    for one in known:
        if one.message_id is not None:
            by_message.setdefault(one.message_id, []).append(one)
    if not by_message:
        return []
    parameters = {"ids": list(by_message), **id_range(by_message)}
    states = dict(
        await (await connection.execute(_LOCK_QUEUE, parameters, prepare=True)).fetchall()
    )
    rows = await (await connection.execute(_LOCK_MESSAGES, parameters, prepare=True)).fetchall()
    return [change_of(row, states.get(row[0]), by_message[row[0]]) for row in rows]


def _failed_way(change: Change) -> FailedWay | None:
    """Return the failure of a way that others follow."""
    failure = next((one for one in change.raised if one.status in FAILURES), None)
    if failure is None or not change.has_next or change.after.status not in FAILURES:
        return None
    return FailedWay(
        change.message_id, change.project_id, change.connector_id, failure.code, failure.reason
    )


def _hear_failure(future: asyncio.Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("receipts.not_applied", error=type(error).__name__)
