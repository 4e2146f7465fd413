"""One statement makes all waiting messages ours; when it commits, they survive anything.

When a batch fails, its rows go one by one: each gets its own error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg.rows import class_row

from backend import ids
from backend.errors import IdempotencyConflict
from backend.ids import new_id
from backend.ledger import refusals
from backend.ledger.accept_statements import (
    ACCEPT,
    ACCEPT_OF_CAMPAIGN,
    ACCEPT_WITH_DEAD_LETTERS,
    ACCEPT_WITH_TOKENS,
    EARLIER,
    Earlier,
    LeftOut,
    Probe,
)
from backend.ledger.idempotency import IdempotencyKey
from backend.models.send_queue import LANES
from backend.models.session import RawPool
from backend.outages import OutageLog, is_outage
from backend.process.group_commit import GroupCommit
from backend.queueing import Turn

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TokenUse:
    """The send token that the message uses up."""

    jti: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewMessage:
    """One accepted send, as it is written.

    `columns`: the others of the statement's row (accept_statements.py), as JSON takes them.
    """

    id: UUID
    project_id: UUID
    connector_id: UUID
    lane: int
    columns: dict[str, Any]
    idempotency: IdempotencyKey | None = None
    token: TokenUse | None = None
    # It takes the place of the dead letter `resent_from`, if that is still one.
    redrives: bool = False
    # Of the campaign's table: the row that becomes this message.
    campaign_line: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """The message that answers the request; `is_replay` when an earlier request made it."""

    message_id: UUID
    status: str
    is_replay: bool = False


# A request for a batch fits by itself, however short the queue is.
_MOST_AT_ONCE: Final = 500
_PROJECT_OF: Final = attrgetter("project_id")

WriteOutcome = Written | BaseException


class AcceptWriter:
    """`on_commit` is told whose turn it may be now, after the rows are safe."""

    def __init__(
        self,
        pool: RawPool,
        *,
        waiting_limit: int,
        idempotency_ttl_s: int,
        on_commit: Callable[[set[Turn]], None],
    ) -> None:
        self._pool = pool
        self._idempotency_ttl_s = idempotency_ttl_s
        self._on_commit = on_commit
        self._outage = OutageLog("accept.database_away")
        self._group: GroupCommit[NewMessage, Written] = GroupCommit(
            self._write_batch,
            name="accept-writer",
            waiting_limit=waiting_limit,
            owner_of=_PROJECT_OF,
            owner_limit=max(waiting_limit // 2, min(waiting_limit, _MOST_AT_ONCE)),
        )

    async def write(self, message: NewMessage) -> Written:
        """Return when the message is committed.

        Raises IdempotencyConflict, RecipientSuppressed, ServiceUnavailable (database down or too
        many waiting), BadRequest (a value that cannot be stored) or DatabaseError.
        """
        return await self._group.submit(message)

    async def find_earlier(self, project_id: UUID, key: IdempotencyKey) -> Written | None:
        """Return what was answered under this key, None when it is new; raises
        IdempotencyConflict.
        """
        probe = NewMessage(new_id(), project_id, project_id, LANES["normal"], {}, key)
        async with self._pool.connection() as connection:
            answers = await self._find_earlier(connection, [probe])
        answer = answers.get(probe.id)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def check_keys(self, project_id: UUID, keys: Sequence[IdempotencyKey]) -> None:
        """Raises IdempotencyConflict when one of the keys was used for another request."""
        probes = [
            NewMessage(new_id(), project_id, project_id, LANES["normal"], {}, key) for key in keys
        ]
        async with self._pool.connection() as connection:
            answers = await self._find_earlier(connection, probes)
        for answer in answers.values():
            if isinstance(answer, BaseException):
                raise answer

    async def drain(self) -> None:
        await self._group.drain()

    async def _write_batch(self, batch: Sequence[NewMessage]) -> Sequence[WriteOutcome]:
        leaders, followers = _one_of_each_key(batch)
        try:
            answers = await self._commit(leaders)
        except Exception as exc:  # noqa: BLE001 (one row's: each of the others is tried by itself)
            if is_outage(exc):
                self._outage.warn(exc, messages=len(batch))
                return [refusals.away(exc)] * len(batch)
            log.warning("accept.batch_refused", error=type(exc).__name__, messages=len(batch))
            answers = await self._commit_one_by_one(leaders)
        return [_answer(message, answers, followers) for message in batch]

    async def _commit_one_by_one(self, batch: Sequence[NewMessage]) -> dict[UUID, WriteOutcome]:
        answers: dict[UUID, WriteOutcome] = {}
        for message in batch:
            try:
                answers |= await self._commit([message])
            except Exception as exc:  # noqa: BLE001 (whatever it is, it is this message's)
                if is_outage(exc):
                    answers[message.id] = refusals.away(exc)
                    continue
                # Not the error's text: Postgres quotes the row, with recipient and content, in it.
                sqlstate = getattr(exc, "sqlstate", None)
                fields = {
                    "message_id": str(message.id),
                    "error": type(exc).__name__,
                    "sqlstate": sqlstate,
                }
                log.error("accept.row_refused", **fields)  # noqa: TRY400
                answers[message.id] = refusals.refused(exc)
        return answers

    async def _commit(self, batch: Sequence[NewMessage]) -> dict[UUID, WriteOutcome]:
        """Raises what keeps the rows from being written; afterwards they are ours, whatever else
        goes wrong.
        """
        rows = orjson.dumps([_row(message) for message in batch]).decode()
        async with self._pool.connection() as connection:
            cursor = await connection.cursor(row_factory=class_row(LeftOut)).execute(
                _statement_for(batch),
                {"rows": rows, "idempotency_ttl_s": self._idempotency_ttl_s},
                prepare=True,
            )
            left_out = await cursor.fetchall()
            answers: dict[UUID, WriteOutcome] = {
                m.id: Written(m.id, m.columns["status"]) for m in batch
            }
            if left_out:
                answers |= await self._answers_of(connection, batch, left_out)
        turns = {(m.lane, m.connector_id) for m in batch if isinstance(answers[m.id], Written)}
        try:
            self._on_commit(turns)
        except Exception:  # the rows are safe; the sweeper finds what no bell was rung for
            log.exception("accept.bell_failed", turns=len(turns))
        return answers

    async def _answers_of(
        self,
        connection: psycopg.AsyncConnection[Any],
        batch: Sequence[NewMessage],
        left_out: Sequence[LeftOut],
    ) -> dict[UUID, WriteOutcome]:
        """Return what those get that were not written: the earlier answer under their key, or why
        not.
        """
        losers = {row.id for row in left_out if not row.is_suppressed}
        lost = [message for message in batch if message.id in losers]
        answers: dict[UUID, WriteOutcome] = {
            row.id: refusals.suppressed() for row in left_out if row.is_suppressed
        }
        try:
            earlier = await self._find_earlier(connection, lost)
        except Exception as exc:  # noqa: BLE001 (of a batch that is committed only these get it)
            log.warning("accept.earlier_unknown", error=type(exc).__name__, messages=len(lost))
            return answers | {m.id: refusals.away(exc) for m in lost}
        return answers | {m.id: earlier.get(m.id) or refusals.lost(m) for m in lost}

    async def _find_earlier(
        self, connection: psycopg.AsyncConnection[Any], batch: Sequence[NewMessage]
    ) -> dict[UUID, WriteOutcome]:
        keys = {m.id: m.idempotency for m in batch if m.idempotency is not None}
        probes = [
            Probe(m.id, m.project_id, m.idempotency.route, m.idempotency.key)
            for m in batch
            if m.idempotency is not None
        ]
        cursor = connection.cursor(row_factory=class_row(Earlier))
        await cursor.execute(EARLIER, {"rows": orjson.dumps(probes).decode()})
        answers: dict[UUID, WriteOutcome] = {}
        for earlier in await cursor.fetchall():
            if bytes(earlier.request_hash) == keys[earlier.id].request_hash:
                answers[earlier.id] = Written(earlier.message_id, earlier.status, is_replay=True)
            else:
                answers[earlier.id] = IdempotencyConflict()
        return answers


def _statement_for(batch: Sequence[NewMessage]) -> str:
    if any(message.redrives for message in batch):
        return ACCEPT_WITH_DEAD_LETTERS
    if any(message.token is not None for message in batch):
        return ACCEPT_WITH_TOKENS
    if any(message.campaign_line is not None for message in batch):
        return ACCEPT_OF_CAMPAIGN
    return ACCEPT


def _row(message: NewMessage) -> dict[str, Any]:
    row = {
        "id": message.id,
        "project_id": message.project_id,
        "connector_id": message.connector_id,
        "lane": message.lane,
        **message.columns,
    }
    if message.idempotency is not None:
        row["idem_route"] = message.idempotency.route
        row["idem_key"] = message.idempotency.key
        row["idem_hash"] = message.idempotency.request_hash.hex()
    if message.token is not None:
        row["token_jti"] = message.token.jti
        row["token_expires_at"] = message.token.expires_at
    if message.campaign_line is not None:
        row["campaign_line"] = message.campaign_line
    if message.redrives:
        new = ids.encode(ids.MESSAGE, message.id)
        row["redrives"] = True
        row["event_id"] = new_id()
        row["event_data"] = {"messageId": new, "reason": f"Sent again as {new}."}
    return row


def _one_of_each_key(
    batch: Sequence[NewMessage],
) -> tuple[list[NewMessage], dict[UUID, NewMessage]]:
    """Return the first message of each Idempotency-Key, and follower id -> its leader.

    One statement may not touch a row twice, so repeats within a batch are settled here.
    """
    leaders: list[NewMessage] = []
    followers: dict[UUID, NewMessage] = {}
    first_of: dict[tuple[UUID, str, str], NewMessage] = {}
    for message in batch:
        if message.idempotency is not None:
            key = (message.project_id, message.idempotency.route, message.idempotency.key)
            leader = first_of.setdefault(key, message)
            if leader is not message:
                followers[message.id] = leader
                continue
        leaders.append(message)
    return leaders, followers


def _answer(
    message: NewMessage, answers: dict[UUID, WriteOutcome], followers: dict[UUID, NewMessage]
) -> WriteOutcome:
    leader = followers.get(message.id)
    if leader is None:
        return answers[message.id]
    answer = answers[leader.id]
    assert message.idempotency is not None and leader.idempotency is not None  # noqa: S101, PT018
    if isinstance(answer, BaseException):
        return answer
    if message.idempotency.request_hash != leader.idempotency.request_hash:
        return IdempotencyConflict()
    return Written(answer.message_id, answer.status, is_replay=True)
