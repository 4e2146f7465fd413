"""Receipts as they wait, and the messages that they speak of, locked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from backend.ledger.locking import MESSAGES, id_range
from backend.ledger.settle import Report, Standing
from backend.status import FAILURES, Status


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt as it waits. `message_id` is None while it isn't known whose it is."""

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

    @property
    def is_failure(self) -> bool:
        return Status(self.status) in FAILURES

    def report(self, message_created_at: datetime) -> Report:
        """Return what it says. A provider's clock may be wrong: what it reports happened after the
        message was created and before the receipt arrived.
        """
        at = max(message_created_at, min(self.happened_at, self.created_at))
        return Report(Status(self.status), at, self.code, self.reason)


@dataclass(frozen=True, slots=True)
class LockedMessage:
    """What receipts need to know of a message, as it is under its lock."""

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

    @property
    def standing(self) -> Standing:
        return Standing(
            Status(self.status),
            self.sent_at,
            self.delivered_at,
            self.read_at,
            self.failed_at,
            self.error_code,
            self.error_reason,
        )

    @property
    def connector_ids(self) -> set[UUID]:
        """Return the connectors of all its ways."""
        return {
            self.connector_id,
            *(UUID(step["connectorId"]) for step in self.steps or ()),
        }

    def is_of_current_way(self, receipt: StoredReceipt) -> bool:
        if receipt.connector_id != self.connector_id:
            return False
        if self.provider_message_id is None or receipt.provider_message_id is None:
            return True
        return receipt.provider_message_id == self.provider_message_id


# The fields of a LockedMessage.
_LOCK_MESSAGES: Final = f"""
SELECT id, project_id, connector_id, connector_type, recipient, provider_message_id, created_at,
    jsonb_array_length(route -> 'steps') - 1 > step AS has_next,
    (route ->> 'fallbackAfterS')::float8 AS fallback_after_s, route -> 'steps' AS steps,
    status, sent_at, delivered_at, read_at, failed_at, error_code, error_reason
FROM messages
{MESSAGES}
"""


async def lock_reported_messages(
    connection: psycopg.AsyncConnection[Any], message_ids: Iterable[UUID]
) -> list[LockedMessage]:
    """Lock messages whose queue rows the transaction has locked; some may not be there."""
    ids = list(message_ids)
    cursor = connection.cursor(row_factory=class_row(LockedMessage))
    await cursor.execute(_LOCK_MESSAGES, {"ids": ids, **id_range(ids)}, prepare=True)
    return await cursor.fetchall()
