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
# Results whose message stays on its way.
_STAYING: Final = """
staying AS MATERIALIZED (
    SELECT * FROM held h WHERE NOT EXISTS (SELECT FROM next_way n WHERE n.message_id = h.message_id)
)"""
# Where no message leaves its way; the planner sees through it.
_ALL_STAY: Final = """
staying AS NOT MATERIALIZED (SELECT * FROM held)"""
_DEQUEUED: Final = """
dequeued AS (
    DELETE FROM send_queue q USING staying h
    WHERE q.message_id = h.message_id AND h.again_in_s IS NULL
)"""
_REQUEUED: Final = """
waiting AS (
    UPDATE send_queue q
    SET state = h.again_state, claim = NULL, lease_until = NULL,
        due_at = now() + make_interval(secs => h.again_in_s),
        tries = CASE WHEN h.counts_as_try THEN q.tries ELSE greatest(0, q.tries - 1) END
    FROM staying h WHERE q.message_id = h.message_id AND h.again_in_s IS NOT NULL
)"""
_ATTEMPTED: Final = """
attempted AS (
    INSERT INTO attempts (id, message_id, project_id, connector_id, number, outcome, provider_code,
        reason, answer, started_at, duration_ms, retry_at)
    SELECT attempt_id, message_id, project_id, connector_id, number, outcome, code,
        reason, answer, started_at, duration_ms, retry_at
    FROM held WHERE is_attempt
)"""
_MOVED: Final = f"""
moved AS (
    UPDATE messages m
    SET attempts = CASE WHEN h.is_attempt THEN h.number ELSE m.attempts END,
        status = CASE WHEN h.rank > {_RANK} THEN h.status ELSE m.status END,
        provider_message_id = coalesce(h.provider_message_id, m.provider_message_id),
        error_code = CASE WHEN h.outcome = 'accepted' THEN NULL ELSE nullif(h.code, '') END,
        error_reason = CASE WHEN h.outcome = 'accepted' THEN NULL ELSE nullif(h.reason, '') END,
        sent_at = CASE WHEN h.outcome = 'accepted' THEN now() ELSE m.sent_at END,
        delivered_at = CASE WHEN h.status = 'delivered' THEN now() ELSE m.delivered_at END,
        failed_at = CASE WHEN h.status IN ('failed', 'expired') THEN now() ELSE m.failed_at END,
        updated_at = now()
    FROM staying h
    WHERE m.id = h.message_id AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
        AND (h.is_attempt OR h.status IS NOT NULL)
    RETURNING m.id, m.status
)"""
# Not what a receipt of an earlier try or way has settled meanwhile.
_DEAD_LETTERS: Final = f"""
dead AS (
    INSERT INTO dead_letters (message_id, project_id)
    SELECT h.message_id, h.project_id FROM staying h JOIN moved ON moved.id = h.message_id
    WHERE h.is_given_up AND moved.status = '{Status.FAILED}'
    ON CONFLICT DO NOTHING
)"""
_STATUS_EVENTS: Final = insert_events("""
    SELECT event_id, project_id, message_id, 'message.' || status,
        jsonb_strip_nulls(jsonb_build_object(
            'attemptId', CASE WHEN is_attempt THEN attempt_id END,
            'code', nullif(code, ''), 'reason', nullif(reason, ''),
            'providerMessageId', provider_message_id)),
        now()
    FROM staying h WHERE status IS NOT NULL""")
_EVENTS: Final = f"\nevents AS ({_STATUS_EVENTS}\n)"
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


_RECORDED: Final = """
SELECT message_id, NULL::int AS lane, NULL::uuid AS connector_id FROM held
"""
_RECORDED_OR_LEFT: Final = """
SELECT h.message_id, n.lane, n.connector_id
FROM held h LEFT JOIN next_way n ON n.message_id = h.message_id
"""


def _record(*, ends: bool) -> str:
    """Return the statement; `ends`: some of the results leave their way or are given up.

    Every other batch does not pay for that.
    """
    leaving = (_LEAVING, FALLBACK, _STAYING) if ends else (_ALL_STAY,)
    given_up = (_DEAD_LETTERS,) if ends else ()
    ctes = [_HELD, *leaving, _DEQUEUED, _REQUEUED, _ATTEMPTED, _MOVED, *given_up]
    ctes += [_EVENTS, _REFS, _SUPPRESSED]
    return f"WITH {','.join(ctes)}{_RECORDED_OR_LEFT if ends else _RECORDED}"


RECORD: Final = _record(ends=False)
RECORD_ENDING: Final = _record(ends=True)
