"""Step 9, one message's share of a batch: which of its receipts count, what they change, and what
is written.

A receipt of the message's current way may end it; one of a way that was left says only that the
message arrived. While the current way is being handed over right now, its receipts wait for the
answer to the send.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg

from backend.ids import new_id
from backend.ledger.onward import id_range
from backend.ledger.settle import Report, Standing, settle
from backend.models.send_queue import CLAIMED, DUE, IN_FLIGHT, WATCHED
from backend.status import FAILURES, Status

# Rows whose message is not before a provider right now.
_AT_REST: Final = f"({DUE}, {CLAIMED}, {WATCHED})"

# A settled message has nothing left in the queue; one that was sent after all goes on waiting for
# its delivery.
_WRITE: Final = f"""
WITH changed AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(changed)s::json) AS r(message_id uuid, connector_id uuid,
        status text,
        provider_message_id text, sent_at timestamptz, delivered_at timestamptz,
            read_at timestamptz,
        failed_at timestamptz, error_code text, error_reason text, keeps_error bool, ends bool,
            watch_in_s float8)
), moved AS (
    UPDATE messages m
    SET status = r.status, sent_at = r.sent_at, delivered_at = r.delivered_at, read_at = r.read_at,
        failed_at = r.failed_at, provider_message_id = coalesce(m.provider_message_id,
            r.provider_message_id),
        error_code = CASE WHEN r.keeps_error THEN m.error_code ELSE r.error_code END,
        error_reason = CASE WHEN r.keeps_error THEN m.error_reason ELSE r.error_reason END,
        updated_at = now()
    FROM changed r
    WHERE m.id = r.message_id AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
), known AS (
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
INSERT INTO events (id, project_id, message_id, type, data, created_at)
SELECT e.id, e.project_id, e.message_id, 'message.' || e.status, jsonb_strip_nulls(e.data), now()
FROM json_to_recordset(%(events)s::json) AS e(id uuid, project_id uuid, message_id uuid, status
    text, data jsonb)
"""

_SUPPRESS: Final = """
INSERT INTO suppressions (id, created_at, project_id, channel, recipient, reason, message_id)
SELECT id, now(), project_id, channel, recipient, reason, message_id
FROM json_to_recordset(%(rows)s::json) AS r(id uuid, project_id uuid, channel text, recipient text,
    reason text,
    message_id uuid)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Told:
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
    """`counted` are the receipts that count now, `deferred` those that wait for the answer to the
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
    steps: Sequence[dict[str, Any]]
    before: Standing
    has_provider_id: bool
    counted: list[Told] = field(default_factory=list)
    deferred: list[Told] = field(default_factory=list)
    current: set[UUID] = field(default_factory=set)  # ids of counted receipts of the current way
    opted_out: str | None = None
    goes_on: bool = False
    after: Standing = field(init=False)
    raised: list[Report] = field(init=False)

    def take(self, one: Told, state: int | None, *, is_current: bool) -> None:
        if is_current and state == IN_FLIGHT:
            self.deferred.append(one)
            return
        if is_current and one.suppress:
            self.opted_out = one.reason
        # The failure of a try says nothing where another one is on its way.
        counts = (is_current and state not in {DUE, CLAIMED}) or Status(one.status) not in FAILURES
        if counts:
            self.counted.append(one)
            if is_current:
                self.current.add(one.id)

    def decide(self) -> None:
        self.after, self.raised = settle(
            self.before, [_report(one, self.created_at) for one in self.counted]
        )

    def take_back_failures(self) -> list[Told]:
        """The way has failed, not the message: decide again without the failures, and return
        them.
        """
        failures = [one for one in self.counted if Status(one.status) in FAILURES]
        self.counted = [one for one in self.counted if one not in failures]
        self.decide()
        return failures

    @property
    def ends(self) -> bool:
        """Whether the queue has nothing more to do for it, but to wait for its delivery."""
        if self.goes_on or not self.raised:
            return False
        if self.after.status != Status.SENT:
            return True
        return any(one.id in self.current for one in self.counted)

    @property
    def watch_in_s(self) -> float | None:
        return self.fallback_after_s if self.has_next and self.after.status == Status.SENT else None

    @property
    def new_provider_id(self) -> str | None:
        """The provider's id, where only the receipt knew it."""
        if self.has_provider_id or self.goes_on:
            return None
        return next(
            (one.provider_message_id for one in self.counted if one.id in self.current), None
        )


def change_of(row: Sequence[Any], state: int | None, told: Sequence[Told]) -> Change:
    """Return a locked message (columns of `apply._LOCK_MESSAGES`) with what `told` makes of it."""
    (
        message_id,
        project_id,
        connector_id,
        type_,
        recipient,
        provider_id,
        created_at,
        has_next,
        after_s,
        steps,
    ) = row[:10]
    status, *rest = row[10:]
    change = Change(
        message_id,
        project_id,
        connector_id,
        type_,
        recipient,
        created_at,
        bool(has_next),
        after_s,
        steps or [],
        Standing(Status(status), *rest),
        provider_id is not None,
    )
    ways = {connector_id, *(UUID(step["connectorId"]) for step in change.steps)}
    for one in told:
        # Only what the message was sent through may speak of it.
        if one.project_id != project_id or one.connector_id not in ways:
            continue
        is_current = one.connector_id == connector_id and (
            None in (provider_id, one.provider_message_id) or one.provider_message_id == provider_id
        )
        change.take(one, state, is_current=is_current)
    change.decide()
    return change


async def suppress(connection: psycopg.AsyncConnection[Any], changes: Iterable[Change]) -> None:
    """Remember recipients that opted out: before the next way is chosen, which must not lead to
    them.
    """
    rows = [
        {
            "id": new_id(),
            "project_id": change.project_id,
            "channel": change.connector_type,
            "recipient": change.recipient,
            "reason": change.opted_out,
            "message_id": change.message_id,
        }
        for change in changes
        if change.opted_out is not None
    ]
    if rows:
        rows.sort(key=lambda row: (row["project_id"], row["channel"], row["recipient"]))
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


def _changed_row(change: Change) -> dict[str, Any]:
    after, before = change.after, change.before
    return {
        "message_id": change.message_id,
        "connector_id": change.connector_id,
        "status": after.status,
        "provider_message_id": change.new_provider_id,
        "sent_at": after.sent_at,
        "delivered_at": after.delivered_at,
        "read_at": after.read_at,
        "failed_at": after.failed_at,
        "error_code": after.error_code,
        "error_reason": after.error_reason,
        # Leaving a failed way has written its own.
        "keeps_error": (
            (after.error_code, after.error_reason) == (before.error_code, before.error_reason)
        ),
        "ends": change.ends,
        "watch_in_s": change.watch_in_s,
    }


def _event_rows(change: Change) -> list[dict[str, Any]]:
    return [
        {
            "id": new_id(),
            "project_id": change.project_id,
            "message_id": change.message_id,
            "status": report.status,
            "data": {
                "source": "receipt",
                "at": report.at,
                "code": report.code or None,
                "reason": report.reason or None,
            },
        }
        for report in change.raised
    ]


def _report(one: Told, message_created_at: datetime) -> Report:
    # A provider's clock may be wrong; what it reports happened after the message was made and
    # before it told us.
    at = max(message_created_at, min(one.happened_at, one.created_at))
    return Report(Status(one.status), at, one.code, one.reason)
