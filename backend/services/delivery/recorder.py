"""Step 7, recording: outcomes of many sends in one statement, each under its claim.

A result is never dropped while its lease may hold: the database being away only delays it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import structlog

from backend.ids import new_id
from backend.models.session import RawPool
from backend.services.delivery.outcomes import Result
from backend.services.group_commit import GroupCommit
from backend.status import RANK, Status

log = structlog.get_logger()

_RETRY_EVERY_S: Final = 0.25
_ROW: Final = """
    message_id uuid, claim uuid, attempt_id uuid, number int, outcome text, code text, reason text,
    answer jsonb, started_at timestamptz, duration_ms float8, retry_at timestamptz, status text,
    rank int, provider_message_id text, retry_in_s float8, counts_as_try bool, suppress bool, event_id uuid
"""

# The rank of a stored status, so that a status never goes back (backend/status.py).
_RANK_SQL: Final = "CASE m.status " + " ".join(f"WHEN '{s.value}' THEN {r}" for s, r in RANK.items()) + " ELSE 0 END"

_RECORD: Final = f"""
WITH held AS MATERIALIZED (
    SELECT r.*, q.project_id, q.connector_id
    FROM json_to_recordset(%(rows)s::json) AS r({_ROW})
    JOIN send_queue q ON q.message_id = r.message_id AND q.claim = r.claim
    FOR UPDATE OF q
), done AS (
    DELETE FROM send_queue q USING held h WHERE q.message_id = h.message_id AND h.retry_in_s IS NULL
), again AS (
    UPDATE send_queue q
    SET state = 0, claim = NULL, lease_until = NULL, due_at = now() + make_interval(secs => h.retry_in_s),
        tries = CASE WHEN h.counts_as_try THEN q.tries ELSE greatest(0, q.tries - 1) END
    FROM held h WHERE q.message_id = h.message_id AND h.retry_in_s IS NOT NULL
), attempted AS (
    INSERT INTO attempts (id, message_id, project_id, connector_id, number, outcome, provider_code, reason,
        answer, started_at, duration_ms, retry_at)
    SELECT attempt_id, message_id, project_id, connector_id, number, outcome, code, reason,
        answer, started_at, duration_ms, retry_at
    FROM held WHERE outcome <> 'expired'
), moved AS (
    UPDATE messages m
    SET attempts = CASE WHEN h.outcome = 'expired' THEN m.attempts ELSE h.number END,
        status = CASE WHEN h.rank > {_RANK_SQL} THEN h.status ELSE m.status END,
        provider_message_id = coalesce(h.provider_message_id, m.provider_message_id),
        error_code = CASE WHEN h.outcome = 'accepted' THEN NULL ELSE nullif(h.code, '') END,
        error_reason = CASE WHEN h.outcome = 'accepted' THEN NULL ELSE nullif(h.reason, '') END,
        sent_at = CASE WHEN h.outcome = 'accepted' THEN now() ELSE m.sent_at END,
        delivered_at = CASE WHEN h.status = 'delivered' THEN now() ELSE m.delivered_at END,
        failed_at = CASE WHEN h.status IN ('failed', 'expired') THEN now() ELSE m.failed_at END,
        updated_at = now()
    FROM held h
    WHERE m.id = h.message_id AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
), told AS (
    INSERT INTO events (id, project_id, message_id, type, data, created_at)
    SELECT event_id, project_id, message_id, 'message.' || status,
        jsonb_strip_nulls(jsonb_build_object('attemptId', attempt_id, 'code', nullif(code, ''),
            'reason', nullif(reason, ''), 'providerMessageId', provider_message_id)),
        now()
    FROM held WHERE status IS NOT NULL
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
SELECT message_id FROM held
"""  # noqa: S608 (made of constants)


@dataclass(frozen=True, slots=True)
class Recorded:
    """`is_ours` is False when the lease was lost meanwhile: nothing was written."""

    is_ours: bool


class Recorder:
    def __init__(self, pool: RawPool) -> None:
        self._pool = pool
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
        except psycopg.Error:
            held = await self._one_by_one(ordered)
        lost = len(batch) - len(held)
        if lost:
            log.warning("record.lease_lost", results=lost)
        return [Recorded(result.claim.message_id in held) for result in batch]

    async def _one_by_one(self, batch: Sequence[Result]) -> set[UUID]:
        """One result the database refuses must not take the others with it."""
        held: set[UUID] = set()
        for result in batch:
            try:
                held |= await self._write_at_last([result])
            except psycopg.Error as exc:
                # Not the error's text: Postgres quotes the row, with recipient and content, in it.
                log.error("record.row_refused", message_id=str(result.claim.message_id), sqlstate=exc.sqlstate)  # noqa: TRY400
                held |= await self._write_at_last([_without_answer(result)])
        return held

    async def _write_at_last(self, batch: Sequence[Result]) -> set[UUID]:
        """Wait for a database that is away: the provider's answer is known only here."""
        while True:
            try:
                return await self._write(batch)
            except psycopg.OperationalError as exc:
                log.warning("record.database_away", error=type(exc).__name__, results=len(batch))
                await asyncio.sleep(_RETRY_EVERY_S)

    async def _write(self, batch: Sequence[Result]) -> set[UUID]:
        ids = [result.claim.message_id for result in batch]
        rows = orjson.dumps([_row(result) for result in batch], default=str).decode()
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                _RECORD, {"rows": rows, "lowest": min(ids), "highest": max(ids)}, prepare=True
            )
            return {row[0] for row in await cursor.fetchall()}


def _row(result: Result) -> dict[str, Any]:
    claim = result.claim
    return {
        "message_id": claim.message_id,
        "claim": claim.number,
        "attempt_id": new_id(),
        "number": claim.attempt_number,
        "outcome": result.outcome,
        "code": _clean(result.code),
        "reason": _clean(result.reason),
        "answer": _clean_json(result.answer) or None,
        "started_at": result.started_at,
        "duration_ms": round(result.duration_ms, 3),
        "retry_at": _retry_at(result),
        "status": result.status,
        "rank": RANK[result.status] if result.status is not None else -1,
        "provider_message_id": _clean(result.provider_message_id) if result.provider_message_id else None,
        "retry_in_s": result.retry_in_s,
        "counts_as_try": result.counts_as_try,
        "suppress": result.suppress,
        "event_id": new_id(),
    }


def _retry_at(result: Result) -> datetime | None:
    if result.retry_in_s is None:
        return None
    return result.started_at + timedelta(milliseconds=result.duration_ms, seconds=result.retry_in_s)


def _clean(text: str) -> str:
    """Postgres text takes no NUL; a hostile provider may send one."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}") if "\x00" in text else text


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
    )
