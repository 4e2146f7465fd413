"""Lock the messages that receipts speak of, and write what the receipts have changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import psycopg

from backend.ids import new_id
from backend.ledger.events import insert_events
from backend.ledger.locking import id_range, lock_queue_states
from backend.ledger.receipt_changes import ReceiptChange, change_of
from backend.ledger.receipt_messages import StoredReceipt, lock_reported_messages
from backend.models.recordset import JSONB, recordset
from backend.models.send_queue import CLAIMED, DUE, WATCHED

# Rows whose message is not at a provider right now.
_AT_REST: Final = f"({DUE}, {CLAIMED}, {WATCHED})"


@dataclass(frozen=True, slots=True)
class _ChangedRow:
    message_id: UUID
    connector_id: UUID
    status: str
    provider_message_id: str | None
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    failed_at: datetime | None
    error_code: str | None
    error_reason: str | None
    keeps_error: bool
    ends: bool
    watch_in_s: float | None


@dataclass(frozen=True, slots=True)
class _EventRow:
    id: UUID
    project_id: UUID
    message_id: UUID
    status: str
    data: Annotated[dict[str, Any], JSONB]


@dataclass(frozen=True, slots=True)
class _SuppressionRow:
    id: UUID
    project_id: UUID
    channel: str
    recipient: str
    reason: str
    message_id: UUID


_EVENTS: Final = insert_events(f"""
    SELECT e.id, e.project_id, e.message_id, 'message.' || e.status, jsonb_strip_nulls(e.data),
        now()
    FROM {recordset(_EventRow, "e", "events")}
""")
# A settled message has nothing left in the queue; one that was sent after all goes on waiting for
# its delivery.
_WRITE: Final = f"""
WITH changed AS MATERIALIZED (
    SELECT * FROM {recordset(_ChangedRow, "r", "changed")}
), moved AS (
    UPDATE messages m
    SET status = r.status, sent_at = r.sent_at, delivered_at = r.delivered_at, read_at = r.read_at,
        failed_at = r.failed_at,
        provider_message_id = coalesce(m.provider_message_id, r.provider_message_id),
        error_code = CASE WHEN r.keeps_error THEN m.error_code ELSE r.error_code END,
        error_reason = CASE WHEN r.keeps_error THEN m.error_reason ELSE r.error_reason END,
        updated_at = now()
    FROM changed r
    WHERE m.id = r.message_id AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
), referred AS (
    INSERT INTO provider_refs (connector_id, provider_message_id, message_id, created_at)
    SELECT connector_id, provider_message_id, message_id, now() FROM changed
    WHERE provider_message_id IS NOT NULL
    ON CONFLICT DO NOTHING
), ended AS (
    DELETE FROM send_queue q USING changed r
    WHERE r.ends AND r.watch_in_s IS NULL AND q.message_id = r.message_id AND q.state IN {_AT_REST}
), watched AS (
    UPDATE send_queue q
    SET state = {WATCHED}, claim = NULL, lease_until = NULL,
        due_at = now() + make_interval(secs => r.watch_in_s)
    FROM changed r
    WHERE r.ends AND r.watch_in_s IS NOT NULL AND q.message_id = r.message_id
        AND q.state IN {_AT_REST}
)
{_EVENTS}
"""

_SUPPRESS: Final = f"""
INSERT INTO suppressions (id, created_at, project_id, channel, recipient, reason, message_id)
SELECT id, now(), project_id, channel, recipient, reason, message_id
FROM {recordset(_SuppressionRow, "r")}
ON CONFLICT DO NOTHING
"""


async def lock_changes(
    connection: psycopg.AsyncConnection[Any], receipts: Iterable[StoredReceipt]
) -> list[ReceiptChange]:
    """Lock the messages of these receipts and return what the receipts make of each.

    A message that isn't there, and its receipts, are left out.
    """
    by_message: dict[UUID, list[StoredReceipt]] = {}
    for receipt in receipts:
        if receipt.message_id is not None:
            by_message.setdefault(receipt.message_id, []).append(receipt)
    if not by_message:
        return []
    states = await lock_queue_states(connection, by_message)
    return [
        change_of(message, states.get(message.id), by_message[message.id])
        for message in await lock_reported_messages(connection, by_message)
    ]


async def suppress(
    connection: psycopg.AsyncConnection[Any], changes: Iterable[ReceiptChange]
) -> None:
    """Remember recipients that opted out: before the next way is chosen, which must not lead to
    them.
    """
    rows = [
        _SuppressionRow(
            new_id(),
            change.message.project_id,
            change.message.connector_type,
            change.message.recipient,
            change.opted_out,
            change.message.id,
        )
        for change in changes
        if change.opted_out is not None
    ]
    if rows:
        rows.sort(key=lambda row: (row.project_id, row.channel, row.recipient))
        await connection.execute(_SUPPRESS, {"rows": orjson.dumps(rows).decode()})


async def write_changes(
    connection: psycopg.AsyncConnection[Any], changes: Sequence[ReceiptChange]
) -> None:
    """Write what has really changed; a receipt that says nothing new writes nothing."""
    changed = [change for change in changes if change.after != change.before]
    if not changed:
        return
    parameters = {
        "changed": orjson.dumps([_changed_row(change) for change in changed]).decode(),
        "events": orjson.dumps([row for change in changed for row in _event_rows(change)]).decode(),
        **id_range(change.message.id for change in changed),
    }
    await connection.execute(_WRITE, parameters, prepare=True)


def _changed_row(change: ReceiptChange) -> _ChangedRow:
    after, before = change.after, change.before
    return _ChangedRow(
        message_id=change.message.id,
        connector_id=change.message.connector_id,
        status=after.status,
        provider_message_id=change.new_provider_id,
        sent_at=after.sent_at,
        delivered_at=after.delivered_at,
        read_at=after.read_at,
        failed_at=after.failed_at,
        error_code=after.error_code,
        error_reason=after.error_reason,
        # Leaving a failed way has written its own.
        keeps_error=(
            (after.error_code, after.error_reason) == (before.error_code, before.error_reason)
        ),
        ends=change.ends,
        watch_in_s=change.watch_in_s,
    )


def _event_rows(change: ReceiptChange) -> list[_EventRow]:
    return [
        _EventRow(
            new_id(),
            change.message.project_id,
            change.message.id,
            report.status,
            {
                "source": "receipt",
                "at": report.at,
                "code": report.code or None,
                "reason": report.reason or None,
            },
        )
        for report in change.raised
    ]
