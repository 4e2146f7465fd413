"""Keep verified callbacks as they came, and their receipts, in one statement for all that wait.

A receipt is stored before anyone looks for its message: one that beats the answer to its own send
is found again when that answer is recorded. Nothing here waits for a message's lock, so a provider
is answered at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import orjson
import structlog
from psycopg.rows import scalar_row

from backend import ids
from backend.instants import is_in_range
from backend.models.recordset import recordset
from backend.models.session import RawPool
from backend.outages import is_outage
from backend.process.group_commit import GroupCommit
from backend.providers.frame.callbacks import Receipt
from backend.services.callbacks.body_quota import BodyQuota

log = structlog.get_logger()

_WAITING_LIMIT: Final = 5000
_BATCH: Final = 200
# Anyone who stored receipts applies them; after this long the workers do, for that process may be
# gone.
_GRACE_S: Final = 2.0
_LONGEST_ID: Final = 255
_LONGEST_WORDS: Final = 1000


@dataclass(frozen=True, slots=True)
class _PendingRow:
    """A receipt to be stored. `digest`: of the callback that it came with."""

    id: UUID
    connector_id: UUID | None
    project_id: UUID | None
    provider_message_id: str | None
    message_id: UUID | None
    status: str
    code: str
    reason: str
    suppress: bool
    happened_at: datetime
    due_in_s: float
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class _CallbackRow:
    digest: str
    connector_id: UUID
    project_id: UUID
    query: str
    body: str
    receipts: int


_COLUMNS: Final = """
    id, connector_id, project_id, provider_message_id, message_id, status, code, reason, suppress,
    happened_at
"""

# A provider repeats what it believes was not heard: the same bytes are the same callback.
_STORE: Final = f"""
WITH stored AS (
    INSERT INTO callbacks (digest, connector_id, project_id, received_at, query, body, receipts)
    SELECT decode(c.digest, 'hex'), c.connector_id, c.project_id, now(), c.query,
        decode(c.body, 'hex'), c.receipts
    FROM {recordset(_CallbackRow, "c", "callbacks")}
    ORDER BY 1
    ON CONFLICT DO NOTHING
    RETURNING digest
)
INSERT INTO pending_receipts ({_COLUMNS}, created_at, due_at)
SELECT {_COLUMNS}, now(), now() + make_interval(secs => r.due_in_s)
FROM {recordset(_PendingRow, "r", "receipts")}
WHERE decode(r.digest, 'hex') IN (SELECT digest FROM stored)
RETURNING id
"""  # noqa: S608 (made of constants)

# A receipt of our own making names a message of ours, and arrives when it says.
_STORE_OWN: Final = f"""
INSERT INTO pending_receipts ({_COLUMNS}, created_at, due_at)
SELECT r.id, m.connector_id, m.project_id, NULL, m.id, r.status, r.code, r.reason, r.suppress,
    r.happened_at,
    greatest(now(), r.happened_at), now() + make_interval(secs => r.due_in_s)
FROM {recordset(_PendingRow, "r", "receipts")}
CROSS JOIN LATERAL (SELECT * FROM messages WHERE messages.id = r.message_id) m
"""  # noqa: S608 (made of constants)

_FORGET: Final = """
DELETE FROM callbacks WHERE digest = ANY(ARRAY(
    SELECT digest FROM callbacks WHERE received_at < now() - make_interval(days => %s) LIMIT 5000))
"""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A verified callback and what it says."""

    connector_id: UUID
    project_id: UUID
    query: str
    body: bytes
    receipts: Sequence[Receipt] = field(default_factory=tuple)

    @property
    def digest(self) -> str:
        parts = (self.connector_id.bytes, self.query.encode(), self.body)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class ReceiptStore:
    def __init__(self, pool: RawPool, quota: BodyQuota) -> None:
        self._pool = pool
        self._quota = quota
        self._group: GroupCommit[Incoming, list[UUID]] = GroupCommit(
            self._store_batch, name="callbacks", waiting_limit=_WAITING_LIMIT, batch_size=_BATCH
        )

    async def store(self, incoming: Incoming) -> list[UUID]:
        """Return the new receipts' ids once they are committed; raises ServiceUnavailable when too
        many wait.
        """
        return await self._group.submit(incoming)

    async def report(self, receipts: Sequence[Receipt]) -> None:
        """Keep receipts that a provider of ours makes itself, each until its `at`."""
        rows = [row for receipt in receipts if (row := _own_row(receipt)) is not None]
        async with self._pool.connection() as connection:
            await connection.execute(_STORE_OWN, {"receipts": _json(rows)})

    async def forget(self, *, older_than_days: int) -> None:
        """Delete raw callbacks that have been kept long enough, a part of them at a time."""
        async with self._pool.connection() as connection:
            await connection.execute(_FORGET, (older_than_days,))

    async def drain(self) -> None:
        await self._group.drain()

    async def _store_batch(self, batch: Sequence[Incoming]) -> Sequence[list[UUID] | BaseException]:
        """One callback that cannot be stored must not keep the others' providers from their
        answers.
        """
        try:
            return await self._store_all(batch)
        except Exception as exc:
            if is_outage(exc) or len(batch) == 1:
                raise
            log.warning("callbacks.batch_refused", error=type(exc).__name__, callbacks=len(batch))
        return [await self._store_alone(incoming) for incoming in batch]

    async def _store_alone(self, incoming: Incoming) -> list[UUID] | BaseException:
        try:
            return (await self._store_all([incoming]))[0]
        except Exception as exc:  # noqa: BLE001 (its own answer)
            # Not the error's text: Postgres quotes the row in it.
            log.error(  # noqa: TRY400
                "callbacks.refused",
                connector_id=str(incoming.connector_id),
                error=type(exc).__name__,
            )
            return exc

    async def _store_all(self, batch: Sequence[Incoming]) -> Sequence[list[UUID]]:
        callbacks = {incoming.digest: incoming for incoming in batch}
        # Of the same bytes twice in one batch the second is a repeat like any other.
        rows = {
            digest: [_row(digest, incoming, receipt) for receipt in incoming.receipts]
            for digest, incoming in callbacks.items()
        }
        parameters = {
            "callbacks": _json(
                [self._callback_row(digest, incoming) for digest, incoming in callbacks.items()]
            ),
            "receipts": _json([row for receipts in rows.values() for row in receipts]),
        }
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=scalar_row)
            await cursor.execute(_STORE, parameters, prepare=True)
            stored = set(await cursor.fetchall())
        new = {
            digest: [row.id for row in receipts if row.id in stored]
            for digest, receipts in rows.items()
        }
        return [new.pop(incoming.digest, []) for incoming in batch]

    def _callback_row(self, digest: str, incoming: Incoming) -> _CallbackRow:
        return _CallbackRow(
            digest,
            incoming.connector_id,
            incoming.project_id,
            _clean(incoming.query, 2000),
            self._quota.kept(incoming.connector_id, incoming.body).hex(),
            len(incoming.receipts),
        )


def _row(digest: str, incoming: Incoming, receipt: Receipt) -> _PendingRow:
    provider_id = receipt.provider_message_id
    return replace(
        _plain_row(receipt),
        connector_id=incoming.connector_id,
        project_id=incoming.project_id,
        provider_message_id=_clean(provider_id, _LONGEST_ID) if provider_id else None,
        due_in_s=_GRACE_S,
        digest=digest,
    )


def _own_row(receipt: Receipt) -> _PendingRow | None:
    row = _plain_row(receipt)
    if row.message_id is None:
        return None
    wait_s = (row.happened_at - datetime.now(UTC)).total_seconds()
    return replace(row, due_in_s=max(0.0, wait_s))


def _plain_row(receipt: Receipt) -> _PendingRow:
    return _PendingRow(
        id=ids.new_id(),
        connector_id=None,
        project_id=None,
        provider_message_id=None,
        message_id=ids.decode(ids.MESSAGE, receipt.message_id) if receipt.message_id else None,
        status=receipt.status,
        code=_clean(receipt.code, _LONGEST_ID),
        reason=_clean(receipt.reason, _LONGEST_WORDS),
        suppress=receipt.suppress,
        happened_at=_instant(receipt.at),
        due_in_s=0.0,
    )


def _instant(at: datetime | None) -> datetime:
    """Return when it happened; now, where the adapter does not say or the provider's clock cannot
    be right.
    """
    if at is not None and at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return at if at is not None and is_in_range(at) else datetime.now(UTC)


def _clean(text: str, most: int) -> str:
    """Postgres text takes no NUL, and JSON no lone surrogate; a stranger may send either."""
    plain = text[:most].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return plain.encode("utf-8", "replace").decode()


def _json(rows: Sequence[_PendingRow | _CallbackRow]) -> str:
    return orjson.dumps(rows).decode()
