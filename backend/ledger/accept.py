"""Step 4: one statement makes all waiting messages ours; when it commits, they survive anything.

Keys and send tokens are settled by their unique constraints, messages written only for the winners,
rows sorted so that two processes cannot deadlock. When a batch fails, its rows go one by one: each
gets its own error.
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

from backend import ids
from backend.errors import IdempotencyConflict
from backend.ids import new_id
from backend.ledger import refusals
from backend.models.send_queue import LANES
from backend.models.session import RawPool
from backend.outages import OutageLog, is_outage
from backend.process.group_commit import GroupCommit
from backend.queueing import Turn

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """`request_hash` tells a repeat of the request from another request under the same key."""

    route: str
    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class TokenUse:
    """The send token that the message uses up."""

    jti: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewMessage:
    """One accepted send, as it is written. `columns` are those of `_COLUMNS`, JSON-able."""

    id: UUID
    project_id: UUID
    connector_id: UUID
    lane: int
    columns: dict[str, Any]
    idempotency: IdempotencyKey | None = None
    token: TokenUse | None = None
    # It takes the place of the dead letter `resent_from`, if that is still one.
    redrives: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """The message that answers the request; `is_replay` when an earlier request made it."""

    message_id: UUID
    status: str
    is_replay: bool = False


_ROW: Final = """
    id uuid, project_id uuid, key_id uuid, connector_id uuid, connector_type text, template_id uuid,
    template_version int, mode text, recipient text, content jsonb, status text, priority text,
    lane smallint, on_uncertain text, metadata jsonb, send_at timestamptz, expires_at timestamptz,
    due_at timestamptz, resent_from uuid, campaign_id uuid, route jsonb, idem_route text, idem_key text, idem_hash text
"""

# `fresh` is what is written: not suppressed, and not answered before under the same key. The last
# SELECT names only the others, so that the usual answer is empty.
_STATEMENT: Final = f"""
WITH batch AS MATERIALIZED (
    SELECT r.*, s.id IS NOT NULL AS is_suppressed
    FROM json_to_recordset(%(rows)s::json) AS r({_ROW}{{columns}})
    LEFT JOIN suppressions s
        ON s.project_id = r.project_id AND s.channel = r.connector_type
            AND s.recipient = r.recipient
){{spent}}, keyed AS (
    INSERT INTO idempotency_records AS i (project_id, route, key, request_hash, message_id,
        expires_at)
    SELECT project_id, idem_route, idem_key, decode(idem_hash, 'hex'), id,
           now() + make_interval(secs => %(idempotency_ttl_s)s)
    FROM {{source}} WHERE idem_key IS NOT NULL AND NOT is_suppressed
    ORDER BY project_id, idem_route, idem_key
    ON CONFLICT (project_id, route, key) DO UPDATE
        SET request_hash = excluded.request_hash, message_id = excluded.message_id,
            expires_at = excluded.expires_at
        WHERE i.expires_at <= now()
    RETURNING message_id
), fresh AS MATERIALIZED (
    SELECT * FROM {{source}}
    WHERE NOT is_suppressed AND (idem_key IS NULL OR id IN (SELECT message_id FROM keyed))
), written AS (
    INSERT INTO messages (id, project_id, key_id, connector_id, connector_type, template_id,
        template_version, mode, recipient, content, status, priority, on_uncertain, metadata,
            attempts,
        send_at, expires_at, resent_from, campaign_id, route, created_at, updated_at)
    SELECT id, project_id, key_id, connector_id, connector_type, template_id, template_version,
        mode,
        recipient, content, status, priority, on_uncertain, metadata, 0, send_at, expires_at,
            resent_from,
        campaign_id, route, now(), now()
    FROM fresh
), queued AS (
    INSERT INTO send_queue (message_id, project_id, connector_id, lane, state, tries, due_at,
        has_next, expires_at)
    SELECT id, project_id, connector_id, lane, 0, 0, coalesce(due_at, send_at, now()),
        route IS NOT NULL, expires_at
    FROM fresh
)
SELECT b.id, b.is_suppressed FROM batch b WHERE NOT EXISTS (SELECT 1 FROM fresh f WHERE f.id = b.id)
"""  # noqa: S608 (made of constants)

# Before the keys, in every process: two cannot wait for each other. A repeat under its
# Idempotency-Key, which gets the first answer, uses up nothing.
_SPENT: Final = """, spent AS (
    INSERT INTO used_tokens (project_id, jti, message_id, expires_at)
    SELECT project_id, token_jti, id, token_expires_at FROM batch b
    WHERE token_jti IS NOT NULL AND NOT is_suppressed AND NOT EXISTS (
        SELECT 1 FROM idempotency_records i
        WHERE i.project_id = b.project_id AND i.route = b.idem_route AND i.key = b.idem_key
            AND i.expires_at > now()
    )
    ORDER BY project_id, token_jti
    ON CONFLICT DO NOTHING
    RETURNING message_id
)"""
_IS_SPENT: Final = "(token_jti IS NULL OR id IN (SELECT message_id FROM spent))"
# Whoever deletes a dead letter sends it, once, in the same statement. Locked in order, as
# everything is.
_REVIVED: Final = """, locked AS MATERIALIZED (
    SELECT d.message_id FROM dead_letters d
    WHERE d.message_id IN (SELECT resent_from FROM batch WHERE redrives AND NOT is_suppressed)
      AND EXISTS (SELECT FROM messages m WHERE m.id = d.message_id AND m.status = 'failed')
    ORDER BY d.message_id FOR UPDATE
), revived AS (
    DELETE FROM dead_letters d USING locked l WHERE d.message_id = l.message_id
        RETURNING d.message_id
), chosen AS MATERIALIZED (
    SELECT DISTINCT ON (resent_from) id, project_id, resent_from, event_id, event_data
    FROM batch WHERE redrives AND resent_from IN (SELECT message_id FROM revived)
        ORDER BY resent_from, id
), told AS (
    INSERT INTO events (id, project_id, message_id, type, data, created_at)
    SELECT event_id, project_id, resent_from, 'message.redriven', event_data, now() FROM chosen
)"""
_IS_REVIVED: Final = "(redrives IS NULL OR id IN (SELECT id FROM chosen))"
_GRANTED: Final = """, granted AS MATERIALIZED (
    SELECT * FROM batch WHERE {condition}
)"""
# A campaign's row is accepted once, and only while the campaign runs: its lock is what pausing and
# canceling wait for.
_OF_CAMPAIGN: Final = """, running AS MATERIALIZED (
    SELECT id FROM campaigns WHERE state = 'running' AND id IN (SELECT campaign_id FROM batch)
        FOR SHARE
), taken AS (
    UPDATE campaign_rows r SET state = 'accepted', message_id = b.id, cells = NULL
    FROM batch b
    WHERE r.campaign_id = b.campaign_id AND r.line = b.campaign_line AND r.state = 'pending'
        AND NOT b.is_suppressed
      AND b.campaign_id IN (SELECT id FROM running)
    RETURNING b.id AS message_id
), granted AS MATERIALIZED (
    SELECT * FROM batch WHERE campaign_line IS NULL OR id IN (SELECT message_id FROM taken)
)"""
# Sends of servers, which are nearly all, do not pay for tokens.
_ACCEPT: Final = _STATEMENT.format(columns="", spent="", source="batch")
_OF_TOKENS: Final = ", token_jti text, token_expires_at timestamptz"
_ACCEPT_WITH_TOKENS: Final = _STATEMENT.format(
    columns=_OF_TOKENS, spent=_SPENT + _GRANTED.format(condition=_IS_SPENT), source="granted"
)
_ACCEPT_WITH_DEAD_LETTERS: Final = _STATEMENT.format(
    columns=_OF_TOKENS + ", redrives bool, event_id uuid, event_data jsonb",
    spent=_SPENT + _REVIVED + _GRANTED.format(condition=f"{_IS_SPENT} AND {_IS_REVIVED}"),
    source="granted",
)
_ACCEPT_OF_CAMPAIGN: Final = _STATEMENT.format(
    columns=", campaign_line int", spent=_OF_CAMPAIGN, source="granted"
)

_EARLIER: Final = """
SELECT r.id, i.message_id, i.request_hash, coalesce(m.status, 'queued')
FROM json_to_recordset(%(rows)s::json) AS r(id uuid, project_id uuid, idem_route text, idem_key
    text)
JOIN idempotency_records i
    ON i.project_id = r.project_id AND i.route = r.idem_route AND i.key = r.idem_key
LEFT JOIN LATERAL (
    SELECT CASE WHEN status = 'scheduled' THEN status ELSE 'queued' END AS status
    FROM messages WHERE messages.id = i.message_id
) m ON true
"""

# A request for a batch fits by itself, however short the queue is.
_MOST_AT_ONCE: Final = 500
_PROJECT_OF: Final = attrgetter("project_id")

Answer = Written | BaseException


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

        Raises IdempotencyConflict, RecipientSuppressed, ServiceUnavailable (database away or too
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

    async def _write_batch(self, batch: Sequence[NewMessage]) -> Sequence[Answer]:
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

    async def _commit_one_by_one(self, batch: Sequence[NewMessage]) -> dict[UUID, Answer]:
        answers: dict[UUID, Answer] = {}
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

    async def _commit(self, batch: Sequence[NewMessage]) -> dict[UUID, Answer]:
        """Raises what keeps the rows from being written; afterwards they are ours, whatever else
        goes wrong.
        """
        rows = orjson.dumps([_row(message) for message in batch]).decode()
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                _statement_for(batch),
                {"rows": rows, "idempotency_ttl_s": self._idempotency_ttl_s},
                prepare=True,
            )
            left_out = await cursor.fetchall()
            answers: dict[UUID, Answer] = {m.id: Written(m.id, m.columns["status"]) for m in batch}
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
        left_out: Sequence[Any],
    ) -> dict[UUID, Answer]:
        """Return what those get that were not written: the earlier answer under their key, or why
        not.
        """
        losers = {message_id for message_id, is_suppressed in left_out if not is_suppressed}
        lost = [m for m in batch if m.id in losers]
        answers: dict[UUID, Answer] = {
            m: refusals.suppressed() for m, is_suppressed in left_out if is_suppressed
        }
        try:
            earlier = await self._find_earlier(connection, lost)
        except Exception as exc:  # noqa: BLE001 (of a batch that is committed only these get it)
            log.warning("accept.earlier_unknown", error=type(exc).__name__, messages=len(lost))
            return answers | {m.id: refusals.away(exc) for m in lost}
        return answers | {m.id: earlier.get(m.id) or refusals.lost(m) for m in lost}

    async def _find_earlier(
        self, connection: psycopg.AsyncConnection[Any], batch: Sequence[NewMessage]
    ) -> dict[UUID, Answer]:
        rows = orjson.dumps(
            [
                {
                    "id": m.id,
                    "project_id": m.project_id,
                    "idem_route": m.idempotency.route,
                    "idem_key": m.idempotency.key,
                }
                for m in batch
                if m.idempotency is not None
            ]
        ).decode()
        cursor = await connection.execute(_EARLIER, {"rows": rows})
        hashes = {m.id: m.idempotency.request_hash for m in batch if m.idempotency is not None}
        answers: dict[UUID, Answer] = {}
        for own_id, message_id, request_hash, status in await cursor.fetchall():
            same = bytes(request_hash) == hashes[own_id]
            answers[own_id] = (
                Written(message_id, status, is_replay=True) if same else IdempotencyConflict()
            )
        return answers


def _statement_for(batch: Sequence[NewMessage]) -> str:
    """Tokens and redrives come with requests, campaigns are fed by a worker: no process has
    both.
    """
    if any(message.redrives for message in batch):
        return _ACCEPT_WITH_DEAD_LETTERS
    if any(message.token is not None for message in batch):
        return _ACCEPT_WITH_TOKENS
    return (
        _ACCEPT_OF_CAMPAIGN
        if any("campaign_line" in message.columns for message in batch)
        else _ACCEPT
    )


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
    if message.redrives:
        new = ids.encode(ids.MESSAGE, message.id)
        row["redrives"] = True
        row["event_id"] = new_id()
        row["event_data"] = {"messageId": new, "reason": f"Sent once more as {new}."}
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
    message: NewMessage, answers: dict[UUID, Answer], followers: dict[UUID, NewMessage]
) -> Answer:
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
