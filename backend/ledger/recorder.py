"""Step 7, recording: outcomes of many sends in one statement, each under its claim.

A result is never dropped while its lease may hold: the database being away only delays it. Messages
that go on with another way of their route do so in the same statement (onward.py).
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

from backend import ids
from backend.ids import new_id
from backend.ledger.onward import ONWARD, id_range
from backend.models.send_queue import DUE, WATCHED
from backend.models.session import RawPool
from backend.outages import OutageLog, is_outage
from backend.process.group_commit import GroupCommit
from backend.queueing import Doorbell, Turn
from backend.services.delivery.outcomes import Result
from backend.services.delivery.unreadable import end_unrecorded
from backend.status import RANK, Status

log = structlog.get_logger()

_RETRY_EVERY_S: Final = 0.25
# Longer ids would not fit into their index, and every try to write one would fail.
_LONGEST_ID: Final = 255
_LONGEST_REASON: Final = 2000
_ROW: Final = """
    message_id uuid, claim uuid, attempt_id uuid, number int, outcome text, code text, reason text,
    answer jsonb, started_at timestamptz, duration_ms float8, retry_at timestamptz, status text,
    rank int, provider_message_id text, again_in_s float8, again_state smallint, counts_as_try bool, suppress bool,
    event_id uuid, is_attempt bool, fault text, is_given_up bool
"""

# In a statement of its own, in the same transaction: what follows must not meet rows that change
# under it. Where one does, Postgres 18 sets up the statement's partition pruning twice, and its
# backend crashes (decision 0016).
_LOCK: Final = """
SELECT count(*) FROM (
    SELECT FROM send_queue WHERE message_id = ANY(%s) ORDER BY message_id FOR UPDATE
) locked
"""

# The rank of a stored status, so that a status never goes back (backend/status.py).
_RANK_SQL: Final = (
    "CASE m.status "
    + " ".join(f"WHEN '{s.value}' THEN {r}" for s, r in RANK.items())
    + " ELSE 0 END"
)

# Messages with further ways, and those that are given up, take the second statement: the others do
# not pay for it.
_TEMPLATE: Final = f"""
WITH held AS MATERIALIZED (
    SELECT r.*, q.project_id, q.connector_id
    FROM json_to_recordset(%(rows)s::json) AS r({_ROW})
    JOIN send_queue q ON q.message_id = r.message_id AND q.claim = r.claim
), {{onward}}done AS (
    DELETE FROM send_queue q USING {{staying}} h WHERE q.message_id = h.message_id
        AND h.again_in_s IS NULL
), again AS (
    UPDATE send_queue q
    SET state = h.again_state, claim = NULL, lease_until = NULL,
        due_at = now() + make_interval(secs => h.again_in_s),
        tries = CASE WHEN h.counts_as_try THEN q.tries ELSE greatest(0, q.tries - 1) END
    FROM {{staying}} h WHERE q.message_id = h.message_id AND h.again_in_s IS NOT NULL
), attempted AS (
    INSERT INTO attempts (id, message_id, project_id, connector_id, number, outcome, provider_code,
        reason,
        answer, started_at, duration_ms, retry_at)
    SELECT attempt_id, message_id, project_id, connector_id, number, outcome, code, reason,
        answer, started_at, duration_ms, retry_at
    FROM held WHERE is_attempt
), moved AS (
    UPDATE messages m
    SET attempts = CASE WHEN h.is_attempt THEN h.number ELSE m.attempts END,
        status = CASE WHEN h.rank > {_RANK_SQL} THEN h.status ELSE m.status END,
        provider_message_id = coalesce(h.provider_message_id, m.provider_message_id),
        error_code = CASE WHEN h.outcome = 'accepted' THEN NULL ELSE nullif(h.code, '') END,
        error_reason = CASE WHEN h.outcome = 'accepted' THEN NULL ELSE nullif(h.reason, '') END,
        sent_at = CASE WHEN h.outcome = 'accepted' THEN now() ELSE m.sent_at END,
        delivered_at = CASE WHEN h.status = 'delivered' THEN now() ELSE m.delivered_at END,
        failed_at = CASE WHEN h.status IN ('failed', 'expired') THEN now() ELSE m.failed_at END,
        updated_at = now()
    FROM {{staying}} h
    WHERE m.id = h.message_id AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
        AND (h.is_attempt OR h.status IS NOT NULL){{moved}}
), {{dead}}told AS (
    INSERT INTO events (id, project_id, message_id, type, data, created_at)
    SELECT event_id, project_id, message_id, 'message.' || status,
        jsonb_strip_nulls(jsonb_build_object('attemptId', CASE WHEN is_attempt THEN attempt_id END,
            'code', nullif(code, ''), 'reason', nullif(reason, ''), 'providerMessageId',
                provider_message_id)),
        now()
    FROM {{staying}} h WHERE status IS NOT NULL
), known AS (
    INSERT INTO provider_refs (connector_id, provider_message_id, message_id, created_at)
    SELECT connector_id, provider_message_id, message_id, now() FROM held
    WHERE provider_message_id IS NOT NULL AND status = 'sent'
    ON CONFLICT DO NOTHING
), suppressed AS (
    INSERT INTO suppressions (id, created_at, project_id, channel, recipient, reason, message_id)
    SELECT DISTINCT ON (h.project_id, m.connector_type, m.recipient)
        h.event_id, now(), h.project_id, m.connector_type, m.recipient, h.reason, h.message_id
    FROM held h CROSS JOIN LATERAL (SELECT * FROM messages WHERE messages.id = h.message_id) m
    WHERE h.suppress
    ON CONFLICT DO NOTHING
)
SELECT h.message_id, {{turn}}
"""
_RECORD: Final = _TEMPLATE.format(
    onward="", staying="held", turn="NULL, NULL FROM held h", moved="", dead=""
)
# A connector that will be tried again keeps its message unless another way can be used now.
_LEAVING: Final = f"""
leaving AS MATERIALIZED (
    SELECT message_id, project_id, fault, again_in_s IS NOT NULL AS only_usable, suppress, code,
        reason, event_id,
        CASE WHEN is_attempt THEN attempt_id END AS attempt_id, CASE
            WHEN is_attempt THEN number END AS number
    FROM held WHERE fault IS NOT NULL
), {ONWARD}, staying AS MATERIALIZED (
    SELECT * FROM held h WHERE NOT EXISTS (SELECT FROM next_way n WHERE n.message_id = h.message_id)
), """
# Not what a receipt of an earlier try or way has settled meanwhile.
_DEAD: Final = f"""dead AS (
    INSERT INTO dead_letters (message_id, project_id)
    SELECT h.message_id, h.project_id FROM staying h JOIN moved ON moved.id = h.message_id
    WHERE h.is_given_up AND moved.status = '{Status.FAILED}'
    ON CONFLICT DO NOTHING
), """
_RECORD_ENDING: Final = _TEMPLATE.format(
    onward=_LEAVING,
    staying="staying",
    moved="\n    RETURNING m.id, m.status",
    dead=_DEAD,
    turn="n.lane, n.connector_id FROM held h LEFT JOIN next_way n ON n.message_id = h.message_id",
)

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
        except Exception as exc:  # noqa: BLE001 (a value that is no JSON, or that the database refuses)
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
        """Write a result with as much as can be written of it; in the end only that nobody tries
        again.
        """
        error: Exception | None = None
        for written in (
            result,
            _without_answer(result),
            replace(_without_answer(result), fault=None),
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
        """Wait for a database that is away: the provider's answer is known only here."""
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
        is_usual = all(result.fault is None and not result.is_given_up for result in batch)
        statement = _RECORD if is_usual else _RECORD_ENDING
        message_ids = [result.claim.message_id for result in batch]
        async with self._pool.connection() as connection:
            # One round trip for all of it.
            async with connection.pipeline(), connection.transaction():
                await connection.execute(_LOCK, (message_ids,), prepare=True)
                cursor = await connection.execute(
                    statement, {"rows": rows, **id_range(message_ids)}, prepare=True
                )
            found = await cursor.fetchall()
        return {
            message_id: None if connector_id is None else (lane, connector_id)
            for message_id, lane, connector_id in found
        }


def _row(result: Result) -> dict[str, Any]:
    claim = result.claim
    return {
        "message_id": claim.message_id,
        "claim": claim.number,
        "attempt_id": new_id(),
        "number": claim.attempt_number,
        "outcome": result.outcome,
        "code": _clean(result.code or "")[:_LONGEST_ID],
        "reason": _clean(result.reason or "")[:_LONGEST_REASON],
        "answer": _clean_json(result.answer) or None,
        "started_at": result.started_at,
        "duration_ms": round(result.duration_ms, 3),
        "retry_at": _retry_at(result),
        "status": result.status,
        "rank": RANK[result.status] if result.status is not None else -1,
        "provider_message_id": (
            _clean(result.provider_message_id)[:_LONGEST_ID] if result.provider_message_id else None
        ),
        "again_in_s": result.retry_in_s if result.watch_in_s is None else result.watch_in_s,
        "again_state": DUE if result.watch_in_s is None else WATCHED,
        "counts_as_try": result.counts_as_try,
        "suppress": result.suppress,
        "event_id": new_id(),
        "is_attempt": result.is_attempt,
        "fault": result.fault,
        "is_given_up": result.is_given_up,
    }


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
    claim = result.claim
    return Result(
        claim,
        result.outcome,
        result.started_at,
        result.duration_ms,
        status=result.status,
        code="UNSTORABLE_ANSWER" if result.status is Status.FAILED else "",
        reason="The provider's answer could not be stored.",
        retry_in_s=result.retry_in_s,
        counts_as_try=result.counts_as_try,
        is_attempt=result.is_attempt,
        watch_in_s=result.watch_in_s,
        fault=result.fault,
    )
