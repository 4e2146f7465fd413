"""The statement that records what came of many tries, each under its claim."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from backend.ledger.events import insert_events
from backend.ledger.fallback import FALLBACK
from backend.models.recordset import JSONB, SMALLINT, recordset
from backend.status import RANK, Status


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A result as the statement reads it; `again_in_s` None: the queue has no more to do."""

    message_id: UUID
    claim: UUID
    attempt_id: UUID
    number: int
    outcome: str
    code: str
    reason: str
    answer: Annotated[Any, JSONB]
    started_at: datetime
    duration_ms: float
    retry_at: datetime | None
    status: str | None
    rank: int
    provider_message_id: str | None
    again_in_s: float | None
    again_state: Annotated[int, SMALLINT]
    counts_as_try: bool
    suppress: bool
    event_id: UUID
    is_attempt: bool
    fault: str | None
    is_given_up: bool


@dataclass(frozen=True, slots=True)
class RecordedRow:
    """A result that was written; its turn, where it goes on with another way."""

    message_id: UUID
    lane: int | None
    connector_id: UUID | None


# The rank of a stored status, so that a status never goes back (backend/status.py).
_RANK: Final = (
    "CASE m.status "
    + " ".join(f"WHEN '{status.value}' THEN {rank}" for status, rank in RANK.items())
    + " ELSE 0 END"
)

# Results whose claim still holds.
_HELD: Final = f"""
held AS MATERIALIZED (
    SELECT r.*, q.project_id, q.connector_id
    FROM {recordset(RecordRow, "r")}
    JOIN send_queue q ON q.message_id = r.message_id AND q.claim = r.claim
)"""
# A connector that will be tried again keeps its message unless another way can be used now.
_LEAVING: Final = """
leaving AS MATERIALIZED (
    SELECT message_id, project_id, fault, again_in_s IS NOT NULL AS only_usable, suppress, code,
        reason, event_id, CASE WHEN is_attempt THEN attempt_id END AS attempt_id,
        CASE WHEN is_attempt THEN number END AS number
    FROM held WHERE fault IS NOT NULL
)"""
_STAYING: Final = """
staying AS MATERIALIZED (
    SELECT * FROM held h WHERE NOT EXISTS (SELECT FROM next_way n WHERE n.message_id = h.message_id)
)"""
_DEQUEUED: Final = """
dequeued AS (
    DELETE FROM send_queue q USING {staying} h
    WHERE q.message_id = h.message_id AND h.again_in_s IS NULL
)"""
_REQUEUED: Final = """
waiting AS (
    UPDATE send_queue q
    SET state = h.again_state, claim = NULL, lease_until = NULL,
        due_at = now() + make_interval(secs => h.again_in_s),
        tries = CASE WHEN h.counts_as_try THEN q.tries ELSE greatest(0, q.tries - 1) END
    FROM {staying} h WHERE q.message_id = h.message_id AND h.again_in_s IS NOT NULL
)"""
_ATTEMPTED: Final = """
attempted AS (
    INSERT INTO attempts (id, message_id, project_id, connector_id, number, outcome, provider_code,
        reason, answer, started_at, duration_ms, retry_at)
    SELECT attempt_id, message_id, project_id, connector_id, number, outcome, code,
        reason, answer, started_at, duration_ms, retry_at
    FROM held WHERE is_attempt
)"""
_MOVED: Final = """
moved AS (
    UPDATE messages m
    SET attempts = CASE WHEN h.is_attempt THEN h.number ELSE m.attempts END,
        status = CASE WHEN h.rank > {rank} THEN h.status ELSE m.status END,
        provider_message_id = coalesce(h.provider_message_id, m.provider_message_id),
        error_code = CASE WHEN h.outcome = 'accepted' THEN NULL ELSE nullif(h.code, '') END,
        error_reason = CASE WHEN h.outcome = 'accepted' THEN NULL ELSE nullif(h.reason, '') END,
        sent_at = CASE WHEN h.outcome = 'accepted' THEN now() ELSE m.sent_at END,
        delivered_at = CASE WHEN h.status = 'delivered' THEN now() ELSE m.delivered_at END,
        failed_at = CASE WHEN h.status IN ('failed', 'expired') THEN now() ELSE m.failed_at END,
        updated_at = now()
    FROM {staying} h
    WHERE m.id = h.message_id AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
        AND (h.is_attempt OR h.status IS NOT NULL){returning}
)"""
# Not what a receipt of an earlier try or way has settled meanwhile.
_DEAD_LETTERS: Final = f"""
dead AS (
    INSERT INTO dead_letters (message_id, project_id)
    SELECT h.message_id, h.project_id FROM staying h JOIN moved ON moved.id = h.message_id
    WHERE h.is_given_up AND moved.status = '{Status.FAILED}'
    ON CONFLICT DO NOTHING
)"""
_EVENTS: Final = """
    SELECT event_id, project_id, message_id, 'message.' || status,
        jsonb_strip_nulls(jsonb_build_object(
            'attemptId', CASE WHEN is_attempt THEN attempt_id END,
            'code', nullif(code, ''), 'reason', nullif(reason, ''),
            'providerMessageId', provider_message_id)),
        now()
    FROM {staying} h WHERE status IS NOT NULL"""
_REFS: Final = """
refs AS (
    INSERT INTO provider_refs (connector_id, provider_message_id, message_id, created_at)
    SELECT connector_id, provider_message_id, message_id, now() FROM held
    WHERE provider_message_id IS NOT NULL AND status = 'sent'
    ON CONFLICT DO NOTHING
)"""
_SUPPRESSED: Final = """
suppressed AS (
    INSERT INTO suppressions (id, created_at, project_id, channel, recipient, reason, message_id)
    SELECT DISTINCT ON (h.project_id, m.connector_type, m.recipient)
        h.event_id, now(), h.project_id, m.connector_type, m.recipient, h.reason, h.message_id
    FROM held h CROSS JOIN LATERAL (SELECT * FROM messages WHERE messages.id = h.message_id) m
    WHERE h.suppress
    ON CONFLICT DO NOTHING
)"""


def _record(*, ends: bool) -> str:
    """Return the statement; `ends`: some of the results leave their way or are given up.

    Every other batch does not pay for that.
    """
    staying = "staying" if ends else "held"
    returning = "\n    RETURNING m.id, m.status" if ends else ""
    ctes = [
        _HELD,
        *((_LEAVING, FALLBACK, _STAYING) if ends else ()),
        _DEQUEUED.format(staying=staying),
        _REQUEUED.format(staying=staying),
        _ATTEMPTED,
        _MOVED.format(staying=staying, rank=_RANK, returning=returning),
        *((_DEAD_LETTERS,) if ends else ()),
        f"\nevents AS ({insert_events(_EVENTS.format(staying=staying))}\n)",
        _REFS,
        _SUPPRESSED,
    ]
    turn = "NULL::int AS lane, NULL::uuid AS connector_id FROM held h"
    if ends:
        turn = (
            "n.lane, n.connector_id FROM held h LEFT JOIN next_way n ON n.message_id = h.message_id"
        )
    return f"WITH {','.join(ctes)}\nSELECT h.message_id, {turn}"


RECORD: Final = _record(ends=False)
RECORD_ENDING: Final = _record(ends=True)
