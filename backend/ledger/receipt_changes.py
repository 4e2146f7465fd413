"""One message's share of a batch of receipts: which of them count, what they change, and what is
written.

A receipt of the message's current way may end it; one of a way that was left says only that the
message arrived. While the current way is being handed over right now, its receipts wait for the
answer to the send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import class_row

from backend.ids import new_id
from backend.ledger.events import insert_events
from backend.ledger.locking import id_range, lock_queue_rows
from backend.ledger.settle import Report, Standing, settle
from backend.models.recordset import JSONB, recordset
from backend.models.send_queue import CLAIMED, DUE, IN_FLIGHT, WATCHED
from backend.status import FAILURES, Status

# Rows whose message is not before a provider right now.
_AT_REST: Final = f"({DUE}, {CLAIMED}, {WATCHED})"


@dataclass(frozen=True, slots=True)
class _Locked:
    """A message as `_LOCK` reads it."""

    id: UUID
    project_id: UUID
    connector_id: UUID
    connector_type: str
    recipient: str
    provider_message_id: str | None
    created_at: datetime
    has_next: bool | None
    fallback_after_s: float | None
    steps: list[dict[str, Any]] | None
    status: str
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    failed_at: datetime | None
    error_code: str | None
    error_reason: str | None


@dataclass(frozen=True, slots=True)
class _ChangedRow:
    """`keeps_error`: leaving a failed way has written its own."""

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
    data: Annotated[Any, JSONB]


@dataclass(frozen=True, slots=True)
class _SuppressedRow:
    id: UUID
    project_id: UUID
    channel: str
    recipient: str
    reason: str
    message_id: UUID


_LOCK: Final = """
SELECT id, project_id, connector_id, connector_type, recipient, provider_message_id, created_at,
    jsonb_array_length(route -> 'steps') - 1 > step AS has_next,
    (route ->> 'fallbackAfterS')::float8 AS fallback_after_s, route -> 'steps' AS steps,
    status, sent_at, delivered_at, read_at, failed_at, error_code, error_reason
FROM messages
WHERE id = ANY(%(ids)s) AND id >= %(lowest)s::uuid AND id <= %(highest)s::uuid
ORDER BY id FOR UPDATE
"""
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
), refs AS (
    INSERT INTO provider_refs (connector_id, provider_message_id, message_id, created_at)
    SELECT connector_id, provider_message_id, message_id, now() FROM changed
    WHERE provider_message_id IS NOT NULL
    ON CONFLICT DO NOTHING
), dequeued AS (
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
{
    insert_events(f'''
    SELECT e.id, e.project_id, e.message_id, 'message.' || e.status, jsonb_strip_nulls(e.data),
        now()
    FROM {recordset(_EventRow, "e", "events")}''')
}
"""
_SUPPRESS: Final = f"""
INSERT INTO suppressions (id, created_at, project_id, channel, recipient, reason, message_id)
SELECT id, now(), project_id, channel, recipient, reason, message_id
FROM {recordset(_SuppressedRow, "r")}
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A stored receipt. `message_id` is None where nobody knows yet whose it is."""

    id: UUID
    message_id: UUID | None
    project_id: UUID
    connector_id: UUID
    provider_message_id: str | None
    status: str
    code: str
    reason: str
    suppress: bool
    happened_at: datetime
    created_at: datetime


@dataclass(slots=True)
class Change:
    """`connector_ids`: of all its ways.

    `counted` are the receipts that count now, `deferred` those that wait for the answer to the
    send.

    `opted_out` says why the current way's recipient must not be sent to again, where a receipt
    reports that.
    """

    message_id: UUID
    project_id: UUID
    connector_id: UUID
    connector_type: str
    recipient: str
    created_at: datetime
    has_next: bool
    fallback_after_s: float | None
    connector_ids: frozenset[UUID]
    before: Standing
    has_provider_id: bool
    counted: list[StoredReceipt] = field(default_factory=list)
    deferred: list[StoredReceipt] = field(default_factory=list)
    current: set[UUID] = field(default_factory=set)  # ids of counted receipts of the current way
    opted_out: str | None = None
    goes_on: bool = False
    after: Standing = field(init=False)
    raised: list[Report] = field(init=False)

    def take(self, receipt: StoredReceipt, state: int | None, *, is_current: bool) -> None:
        if is_current and state == IN_FLIGHT:
            self.deferred.append(receipt)
            return
        if is_current and receipt.suppress:
            self.opted_out = receipt.reason
        # The failure of a try says nothing where another receipt is on its way.
        counts = (is_current and state not in {DUE, CLAIMED}) or Status(
            receipt.status
        ) not in FAILURES
        if counts:
            self.counted.append(receipt)
            if is_current:
                self.current.add(receipt.id)

    def decide(self) -> None:
        self.after, self.raised = settle(
            self.before, [_report(receipt, self.created_at) for receipt in self.counted]
        )

    def take_back_failures(self) -> list[StoredReceipt]:
        """The way has failed, not the message: decide again without the failures, and return
        them.
        """
        failures = [receipt for receipt in self.counted if Status(receipt.status) in FAILURES]
        self.counted = [receipt for receipt in self.counted if receipt not in failures]
        self.decide()
        return failures

    @property
    def ends(self) -> bool:
        """Whether the queue has nothing more to do for it, but to wait for its delivery."""
        if self.goes_on or not self.raised:
            return False
        if self.after.status != Status.SENT:
            return True
        return any(receipt.id in self.current for receipt in self.counted)

    @property
    def watch_in_s(self) -> float | None:
        return self.fallback_after_s if self.has_next and self.after.status == Status.SENT else None

    @property
    def new_provider_id(self) -> str | None:
        """The provider's id, where only the receipt knew it."""
        if self.has_provider_id or self.goes_on:
            return None
        ours = (receipt for receipt in self.counted if receipt.id in self.current)
        return next((receipt.provider_message_id for receipt in ours), None)


async def lock_changes(
    connection: psycopg.AsyncConnection[Any], receipts: Mapping[UUID, Sequence[StoredReceipt]]
) -> list[Change]:
    """Return each message with what its receipts make of it, as it is now that nobody else can
    change it.
    """
    if not receipts:
        return []
    states = await lock_queue_rows(connection, receipts)
    cursor = connection.cursor(row_factory=class_row(_Locked))
    await cursor.execute(_LOCK, {"ids": list(receipts), **id_range(receipts)}, prepare=True)
    return [
        _change_of(row, states.get(row.id), receipts[row.id]) for row in await cursor.fetchall()
    ]


def _change_of(row: _Locked, state: int | None, receipts: Sequence[StoredReceipt]) -> Change:
    steps = (UUID(step["connectorId"]) for step in row.steps or ())
    change = Change(
        row.id,
        row.project_id,
        row.connector_id,
        row.connector_type,
        row.recipient,
        row.created_at,
        bool(row.has_next),
        row.fallback_after_s,
        frozenset((row.connector_id, *steps)),
        Standing(
            Status(row.status),
            row.sent_at,
            row.delivered_at,
            row.read_at,
            row.failed_at,
            row.error_code,
            row.error_reason,
        ),
        row.provider_message_id is not None,
    )
    for receipt in receipts:
        # Only what the message was sent through may speak of it.
        if receipt.project_id != row.project_id or receipt.connector_id not in change.connector_ids:
            continue
        is_current = receipt.connector_id == row.connector_id and (
            None in (row.provider_message_id, receipt.provider_message_id)
            or receipt.provider_message_id == row.provider_message_id
        )
        change.take(receipt, state, is_current=is_current)
    change.decide()
    return change


async def suppress(connection: psycopg.AsyncConnection[Any], changes: Iterable[Change]) -> None:
    """Remember recipients that opted out: before the next way is chosen, which must not lead to
    them.
    """
    rows = [
        _SuppressedRow(
            new_id(),
            change.project_id,
            change.connector_type,
            change.recipient,
            change.opted_out,
            change.message_id,
        )
        for change in changes
        if change.opted_out is not None
    ]
    if rows:
        rows.sort(key=lambda row: (row.project_id, row.channel, row.recipient))
        await connection.execute(_SUPPRESS, {"rows": orjson.dumps(rows).decode()})


async def write_changes(
    connection: psycopg.AsyncConnection[Any], changes: Sequence[Change]
) -> None:
    """Write what has really changed; a receipt that says nothing new writes nothing."""
    changed = [change for change in changes if change.after != change.before]
    if not changed:
        return
    parameters = {
        "changed": orjson.dumps([_changed_row(change) for change in changed]).decode(),
        "events": orjson.dumps([row for change in changed for row in _event_rows(change)]).decode(),
        **id_range(change.message_id for change in changed),
    }
    await connection.execute(_WRITE, parameters, prepare=True)


def _changed_row(change: Change) -> _ChangedRow:
    after, before = change.after, change.before
    return _ChangedRow(
        message_id=change.message_id,
        connector_id=change.connector_id,
        status=after.status,
        provider_message_id=change.new_provider_id,
        sent_at=after.sent_at,
        delivered_at=after.delivered_at,
        read_at=after.read_at,
        failed_at=after.failed_at,
        error_code=after.error_code,
        error_reason=after.error_reason,
        keeps_error=(
            (after.error_code, after.error_reason) == (before.error_code, before.error_reason)
        ),
        ends=change.ends,
        watch_in_s=change.watch_in_s,
    )


def _event_rows(change: Change) -> list[_EventRow]:
    return [
        _EventRow(
            new_id(),
            change.project_id,
            change.message_id,
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


def _report(receipt: StoredReceipt, message_created_at: datetime) -> Report:
    # A provider's clock may be wrong; what it reports happened after the message was made and
    # before it told us.
    at = max(message_created_at, min(receipt.happened_at, receipt.created_at))
    return Report(Status(receipt.status), at, receipt.code, receipt.reason)
