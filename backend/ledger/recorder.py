"""Record what came of many tries in one statement, each under its claim.

A result is never dropped while its lease may hold: the database being away only delays it. Messages
that go on with another way of their route do so in the same statement (fallback.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import structlog
from psycopg.rows import class_row

from backend import ids
from backend.ids import new_id
from backend.ledger.locking import id_range, lock_queue_rows
from backend.ledger.record_statements import RECORD, RECORD_ENDING, RecordedRow, RecordRow
from backend.ledger.results import Done, Result, Watch
from backend.ledger.unreadable import end_unrecorded
from backend.models.send_queue import DUE, WATCHED
from backend.models.session import RawPool
from backend.outages import OutageLog, is_outage
from backend.process.group_commit import GroupCommit
from backend.queueing import Doorbell, Turn
from backend.status import RANK, Status

log = structlog.get_logger()

_RETRY_EVERY_S: Final = 0.25
# Longer ids would not fit into their index, and every try to write one would fail.
_LONGEST_ID: Final = 255
_LONGEST_REASON: Final = 2000

# The message of a result that was recorded, and whose turn it is now if it goes on with another
# way.
_Held = dict[UUID, Turn | None]


@dataclass(frozen=True, slots=True)
class Recorded:
    """`is_ours` is False when the lease was lost meanwhile: nothing was written."""

    is_ours: bool


class Recorder:
    """`doorbell` is rung for messages that go on with another connector; without one the sweeper
    finds them.
    """

    def __init__(self, pool: RawPool, doorbell: Doorbell | None = None) -> None:
        self._pool = pool
        self._doorbell = doorbell
        self._outage = OutageLog("record.database_away")
        self._group: GroupCommit[Result, Recorded] = GroupCommit(
            self._record_batch, name="outcome-recorder", waiting_limit=1_000_000, batch_size=500
        )

    async def record(self, result: Result) -> Recorded:
        """Return once the outcome is committed."""
        return await self._group.submit(result)

    async def drain(self) -> None:
        await self._group.drain()

    async def _record_batch(self, batch: Sequence[Result]) -> Sequence[Recorded]:
        # Sorted by message, so that two workers lock rows in one order.
        ordered = sorted(batch, key=lambda result: result.claim.message_id)
        try:
            held = await self._write_at_last(ordered)
        except Exception as exc:  # noqa: BLE001 (a value that isn't JSON, or that the database refuses)
            log.warning("record.batch_refused", error=type(exc).__name__, results=len(ordered))
            held = await self._one_by_one(ordered)
        if self._doorbell is not None and (
            turns := {turn for turn in held.values() if turn is not None}
        ):
            self._doorbell.ring(turns)
        lost = len(batch) - len(held)
        if lost:
            log.warning("record.lease_lost", results=lost)
        return [Recorded(result.claim.message_id in held) for result in batch]

    async def _one_by_one(self, batch: Sequence[Result]) -> _Held:
        """One result the database refuses must not take the others with it."""
        held: _Held = {}
        for result in batch:
            held |= await self._write_alone(result)
        return held

    async def _write_alone(self, result: Result) -> _Held:
        """Write as much of a result as can be stored; in the end only that it isn't tried again."""
        error: Exception | None = None
        for written in (
            result,
            _without_answer(result),
            replace(_without_answer(result), next=result.stay),
        ):
            try:
                return await self._write_at_last([written])
            except Exception as exc:  # noqa: BLE001 (as above)
                error = exc
                # Not the error's text: Postgres quotes the row, with recipient and content, in it.
                log.error(  # noqa: TRY400
                    "record.row_refused",
                    message_id=ids.encode(ids.MESSAGE, result.claim.message_id),
                    error=type(exc).__name__,
                    sqlstate=getattr(exc, "sqlstate", None),
                )
        assert error is not None  # noqa: S101 (every try above failed)
        await self._give_up(result, error)
        return {}

    async def _give_up(self, result: Result, error: Exception) -> None:
        may_be_sent = result.outcome in {"accepted", "uncertain"}
        while True:
            try:
                return await end_unrecorded(
                    self._pool, result.claim.message_id, error, may_be_sent=may_be_sent
                )
            except Exception as exc:
                if not is_outage(exc):
                    raise
                self._outage.warn(exc, results=1)
                await asyncio.sleep(_RETRY_EVERY_S)

    async def _write_at_last(self, batch: Sequence[Result]) -> _Held:
        """Wait for a database that is down: the provider's answer is known only here."""
        while True:
            try:
                return await self._write(batch)
            except Exception as exc:
                if not is_outage(exc):
                    raise
                self._outage.warn(exc, results=len(batch))
                await asyncio.sleep(_RETRY_EVERY_S)

    async def _write(self, batch: Sequence[Result]) -> _Held:
        rows = orjson.dumps([_row(result) for result in batch], default=str).decode()
        ends = any(result.fault is not None or result.is_given_up for result in batch)
        message_ids = [result.claim.message_id for result in batch]
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(RecordedRow))
            # One round trip for all of it.
            async with connection.pipeline(), connection.transaction():
                await lock_queue_rows(connection, message_ids)
                await cursor.execute(
                    RECORD_ENDING if ends else RECORD,
                    {"rows": rows, **id_range(message_ids)},
                    prepare=True,
                )
            return {row.message_id: _turn(row) for row in await cursor.fetchall()}


def _turn(row: RecordedRow) -> Turn | None:
    if row.lane is None or row.connector_id is None:
        return None
    return row.lane, row.connector_id


def _row(result: Result) -> RecordRow:
    claim, stay = result.claim, result.stay
    provider_id = result.provider_message_id
    return RecordRow(
        message_id=claim.message_id,
        claim=claim.number,
        attempt_id=new_id(),
        number=claim.attempt_number,
        outcome=result.outcome,
        code=_clean(result.code or "")[:_LONGEST_ID],
        reason=_clean(result.reason or "")[:_LONGEST_REASON],
        answer=_clean_json(result.answer) or None,
        started_at=result.started_at,
        duration_ms=round(result.duration_ms, 3),
        retry_at=_retry_at(result),
        status=result.status,
        rank=RANK[result.status] if result.status is not None else -1,
        provider_message_id=_clean(provider_id)[:_LONGEST_ID] if provider_id else None,
        again_in_s=None if isinstance(stay, Done) else stay.in_s,
        again_state=WATCHED if isinstance(stay, Watch) else DUE,
        counts_as_try=result.counts_as_try,
        suppress=result.suppress,
        event_id=new_id(),
        is_attempt=result.is_attempt,
        fault=result.fault,
        is_given_up=result.is_given_up,
    )


def _retry_at(result: Result) -> datetime | None:
    if result.retry_in_s is None:
        return None
    return result.started_at + timedelta(milliseconds=result.duration_ms, seconds=result.retry_in_s)


def _clean(text: object) -> str:
    """Postgres text takes no NUL and JSON no lone surrogate; a hostile provider may send them, or
    no text at all.
    """
    plain = str(text).replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return plain if plain.isascii() else plain.encode("utf-8", "replace").decode()


def _clean_json(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {_clean(str(key)): _clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_json(item) for item in value]
    if hasattr(value, "items"):
        return _clean_json(dict(value))
    return value


def _without_answer(result: Result) -> Result:
    return replace(
        result,
        provider_message_id=None,
        code="UNSTORABLE_ANSWER" if result.status is Status.FAILED else "",
        reason="The provider's answer could not be stored.",
        answer={},
        hold_s=0.0,
        suppress=False,
    )
