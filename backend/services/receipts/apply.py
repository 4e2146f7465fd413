"""Apply receipts: they move their messages by rank, each once, in any order.

One transaction takes receipts, locks their messages, decides (ledger/settle.py) and writes. A
receipt is deleted by the transaction that applies it; one whose message is not known yet, or is
being handed over right now, stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog
from psycopg.rows import class_row, scalar_row

from backend.ledger.fallback import FailedWay, leave_failed_ways
from backend.ledger.receipt_changes import ReceiptChange
from backend.ledger.receipt_messages import StoredReceipt
from backend.ledger.receipt_writes import lock_changes, suppress, write_changes
from backend.models.session import RawPool
from backend.outages import is_outage
from backend.process.group_commit import GroupCommit
from backend.queueing import Doorbell, Turn
from backend.status import FAILURES

log = structlog.get_logger()

BATCH: Final = 500
_WAITING_LIMIT: Final = 1_000_000
# How long a receipt whose message is unknown is kept: it may be of a send whose answer is still
# to come, or of another system that sends through the same account.
_PENDING_FOR_S: Final = 24 * 3600.0
_AGAIN_S: Final = 1.0

# Waiting receipts, with the message that the provider's id names: the fields of a StoredReceipt.
_RECEIPTS: Final = """
SELECT r.id, coalesce(r.message_id, p.message_id) AS message_id, r.project_id, r.connector_id,
    r.provider_message_id, r.status, r.code, r.reason, r.suppress, r.happened_at, r.created_at
FROM pending_receipts r LEFT JOIN provider_refs p
    ON p.connector_id = r.connector_id AND p.provider_message_id = r.provider_message_id
"""
# Both skip the receipts that another process is deciding about.
_TAKE: Final = f"{_RECEIPTS} WHERE r.id = ANY(%s) ORDER BY r.id FOR UPDATE OF r SKIP LOCKED"
_TAKE_DUE: Final = f"""
{_RECEIPTS}
WHERE r.due_at <= now() ORDER BY r.due_at LIMIT %s FOR UPDATE OF r SKIP LOCKED
"""

_DUE_IDS: Final = "SELECT id FROM pending_receipts WHERE due_at <= now() ORDER BY due_at LIMIT %s"

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
            future.add_done_callback(_log_failure)
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
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_DUE_IDS, (most,))
            due = await cursor.fetchall()
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
            cursor = connection.cursor(row_factory=class_row(StoredReceipt))
            await cursor.execute(statement, (argument,), prepare=True)
            receipts = await cursor.fetchall()
            turns = await _apply(connection, receipts) if receipts else []
        self._doorbell.ring(turns)
        return len(receipts)


async def _apply(
    connection: psycopg.AsyncConnection[Any], receipts: Sequence[StoredReceipt]
) -> list[Turn]:
    """Apply what can be applied, keep what cannot yet; returns the turns to ring after the
    commit.
    """
    unknown = [receipt.id for receipt in receipts if receipt.message_id is None]
    # A message that is not there (another project's, or dropped by retention) takes its receipts
    # with it.
    changes = await lock_changes(connection, receipts)
    await suppress(connection, changes)
    left = await leave_failed_ways(
        connection, [way for change in changes if (way := _failed_way(change)) is not None]
    )
    busy = [receipt.id for change in changes for receipt in change.deferred]
    for change in changes:
        change.goes_on = change.message.id in left.turns
        if change.goes_on:
            change.take_back_failures()
        elif change.message.id in left.busy:
            busy += [receipt.id for receipt in change.take_back_failures()]
    await write_changes(connection, changes)
    await _tidy(connection, receipts, unknown=unknown, busy=busy)
    return list(left.turns.values())


async def _tidy(
    connection: psycopg.AsyncConnection[Any],
    receipts: Sequence[StoredReceipt],
    *,
    unknown: list[UUID],
    busy: list[UUID],
) -> None:
    waiting = {*unknown, *busy}
    applied = [receipt.id for receipt in receipts if receipt.id not in waiting]
    await connection.execute(_DROP, (applied,))
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


def _failed_way(change: ReceiptChange) -> FailedWay | None:
    """Return the failure of a way that others follow."""
    failure = next((report for report in change.raised if report.status in FAILURES), None)
    message = change.message
    if failure is None or not message.has_next or change.after.status not in FAILURES:
        return None
    return FailedWay(
        message.id, message.project_id, message.connector_id, failure.code, failure.reason
    )


def _log_failure(future: asyncio.Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("receipts.not_applied", error=type(error).__name__)
