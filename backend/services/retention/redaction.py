"""Redaction: content goes when it is no longer needed, or old enough, as each project wants it.

A cursor walks through each project's messages. What is still being worked on when it comes by gets
a hold, and is looked at again. All of it runs in one worker at a time (keeper.py); a crash repeats
a step that changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg.rows import class_row

from backend.ledger.removal import Redacted, redact
from backend.models.recordset import recordset
from backend.outages import is_outage
from backend.services.retention.masks import Unfilled, masked_content, masked_recipient
from backend.services.retention.policies import ContentPolicy, Defaults, content_policies

log = structlog.get_logger()

_STEP: Final = 500
_PROJECTS_AT_ONCE: Final = 200
_PAUSE_S: Final = 0.02

# Nothing waits for the message, and nobody will decide about it any more: an uncertain one can be
# resent and a dead letter redriven for a day, and a sent one can go on to its next way until its
# receipt is overdue by far.
_IS_DONE: Final = """
    q.message_id IS NULL AND m.status NOT IN ('queued', 'scheduled') AND NOT (
        m.updated_at > now() - interval '1 day'
        AND (
            m.status = 'uncertain' OR (m.status = 'sent' AND m.route IS NOT NULL)
            OR (m.status = 'failed' AND EXISTS (SELECT FROM dead_letters d
                WHERE d.message_id = m.id))
        )
    )
"""
_NEEDED: Final = f"""
    m.id, {_IS_DONE} AS is_done, m.recipient, m.connector_type, m.template_id,
    m.template_version, m.content
"""
_WALK: Final = f"""
SELECT p.project_id, m.*
FROM {recordset(ContentPolicy, "p", "policies")}
LEFT JOIN content_cursors c ON c.project_id = p.project_id
CROSS JOIN LATERAL (
    SELECT {_NEEDED} FROM messages m LEFT JOIN send_queue q ON q.message_id = m.id
    WHERE m.project_id = p.project_id AND m.id < p.before
        AND m.id > coalesce(c.walked_to, '00000000-0000-0000-0000-000000000000')
        AND (m.redacted_at IS NULL OR (p.mode = 'nothing' AND m.content <> '{{}}'))
    ORDER BY m.id LIMIT {_STEP}
) m
"""  # noqa: S608 (made of constants)
_HELD: Final = f"""
SELECT h.project_id, m.*
FROM content_holds h
CROSS JOIN LATERAL (
    SELECT {_NEEDED} FROM messages m LEFT JOIN send_queue q ON q.message_id = m.id
        WHERE m.id = h.message_id
) m
WHERE h.message_id = ANY(%(ids)s)
"""  # noqa: S608 (made of constants)
_PUT_OFF: Final = (
    "UPDATE content_holds SET check_at = now() + interval '1 hour' WHERE message_id = %s"
)
_DROP_HOLDS: Final = "DELETE FROM content_holds WHERE message_id = ANY(%s)"
_DUE_HOLDS: Final = (
    f"SELECT message_id FROM content_holds WHERE check_at <= now() ORDER BY check_at LIMIT {_STEP}"  # noqa: S608
)

_MOVE_CURSORS: Final = """
INSERT INTO content_cursors (project_id, walked_to)
SELECT * FROM unnest(%s::uuid[], %s::uuid[])
ON CONFLICT (project_id) DO UPDATE SET walked_to = excluded.walked_to
"""
# What waits for its time is looked at after it; what waits longer and longer, less and less often.
_HOLD: Final = """
INSERT INTO content_holds (message_id, project_id, check_at)
SELECT m.id, m.project_id, greatest(
    coalesce(q.due_at, now()),
    now() + least(interval '1 hour', greatest(interval '30 seconds', (now() - m.created_at) / 4))
)
FROM messages m LEFT JOIN send_queue q ON q.message_id = m.id
WHERE m.id = ANY(%(ids)s) AND m.id >= %(lowest)s::uuid AND m.id <= %(highest)s::uuid
ON CONFLICT (message_id) DO UPDATE SET check_at = excluded.check_at
"""
_TEMPLATES: Final = """
SELECT v.template_id, v.version, t.connector_type, t.name, v.content, v.subject, v.html, v.variants
FROM template_versions v JOIN templates t ON t.id = v.template_id
JOIN unnest(%s::uuid[], %s::int[]) AS w(template_id, version)
    ON w.template_id = v.template_id AND w.version = v.version
"""


@dataclass(frozen=True, slots=True)
class _Seen:
    project_id: UUID
    id: UUID
    is_done: bool
    recipient: str
    connector_type: str
    template_id: UUID | None
    template_version: int | None
    content: dict[str, Any]


class Redaction:
    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults

    async def run_once(self, connection: psycopg.AsyncConnection[Any]) -> int:
        """Redact all that is due; returns the number of messages."""
        policies = await content_policies(connection, self._defaults)
        redacted = await self._look_at_holds(
            connection, {policy.project_id: policy for policy in policies}
        )
        for first in range(0, len(policies), _PROJECTS_AT_ONCE):
            redacted += await self._walk_isolated(
                connection, policies[first : first + _PROJECTS_AT_ONCE]
            )
        if redacted:
            log.info("retention.redacted", messages=redacted)
        return redacted

    async def _walk_isolated(
        self, connection: psycopg.AsyncConnection[Any], policies: Sequence[ContentPolicy]
    ) -> int:
        """Walk through all together; where that fails, one project after the other, and through the
        others.
        """
        try:
            return await self._walk(connection, policies)
        except Exception as exc:
            if is_outage(exc):
                raise
            # Not the error's text: Postgres quotes the row in it.
            name = {"project_id": str(policies[0].project_id)} if len(policies) == 1 else {}
            log.error(  # noqa: TRY400
                "retention.walk_failed", error=type(exc).__name__, projects=len(policies), **name
            )
        return (
            0
            if len(policies) == 1
            else sum([await self._walk_isolated(connection, [item]) for item in policies])
        )

    async def _walk(
        self, connection: psycopg.AsyncConnection[Any], policies: Sequence[ContentPolicy]
    ) -> int:
        """Take every project's cursor to where its policy ends."""
        redacted = 0
        left = {policy.project_id: policy for policy in policies}
        while left:
            async with connection.transaction():
                seen = await self._seen(connection, _WALK, {"policies": _json_of(left.values())})
                redacted += len(await self._settle(connection, seen, left))
                reached: dict[UUID, UUID] = {}
                for project_id, policy in list(left.items()):
                    ours = [item.id for item in seen if item.project_id == project_id]
                    if len(ours) < _STEP:
                        # All before it was seen; its own id is of nobody.
                        reached[project_id] = policy.before
                        del left[project_id]
                    else:
                        reached[project_id] = max(ours)
                await connection.execute(_MOVE_CURSORS, (list(reached), list(reached.values())))
            await asyncio.sleep(_PAUSE_S if left else 0)
        return redacted

    async def _look_at_holds(
        self, connection: psycopg.AsyncConnection[Any], policies: dict[UUID, ContentPolicy]
    ) -> int:
        redacted = 0
        while True:
            due = [row[0] for row in await (await connection.execute(_DUE_HOLDS)).fetchall()]
            try:
                redacted += await self._look_at(connection, due, policies)
            except Exception as exc:
                if is_outage(exc):
                    raise
                log.error("retention.holds_failed", error=type(exc).__name__, holds=len(due))  # noqa: TRY400
                redacted += sum(
                    [await self._look_at_one(connection, item, policies) for item in due]
                )
            if len(due) < _STEP:
                return redacted
            await asyncio.sleep(_PAUSE_S)

    async def _look_at(
        self,
        connection: psycopg.AsyncConnection[Any],
        due: Sequence[UUID],
        policies: dict[UUID, ContentPolicy],
    ) -> int:
        async with connection.transaction():
            looked_at = await self._seen(connection, _HELD, {"ids": list(due)})
            seen = [item for item in looked_at if item.project_id in policies]
            done = await self._settle(connection, seen, policies)
            # Retention may have removed others, or their project keeps its content now.
            over = set(due) - {item.id for item in seen} | done
            await connection.execute(_DROP_HOLDS, (list(over),))
            return len(done)

    async def _look_at_one(
        self,
        connection: psycopg.AsyncConnection[Any],
        message_id: UUID,
        policies: dict[UUID, ContentPolicy],
    ) -> int:
        """One message that cannot be redacted is looked at again in an hour; the others are not
        kept waiting.
        """
        try:
            return await self._look_at(connection, [message_id], policies)
        except Exception as exc:
            if is_outage(exc):
                raise
            # Not the error's text: Postgres quotes the row in it.
            log.error(  # noqa: TRY400
                "retention.not_redacted", message_id=str(message_id), error=type(exc).__name__
            )
            await connection.execute(_PUT_OFF, (message_id,))
            return 0

    async def _seen(
        self,
        connection: psycopg.AsyncConnection[Any],
        query: str,
        parameters: dict[str, Any] | None = None,
    ) -> list[_Seen]:
        cursor = connection.cursor(row_factory=class_row(_Seen))
        await cursor.execute(query, parameters)
        return await cursor.fetchall()

    async def _settle(
        self,
        connection: psycopg.AsyncConnection[Any],
        seen: Sequence[_Seen],
        policies: dict[UUID, ContentPolicy],
    ) -> set[UUID]:
        """Redact what is done and hold the rest; returns what was redacted."""
        redacted: set[UUID] = set()
        done = [item for item in seen if item.is_done]
        if done:
            masked = [item for item in done if policies[item.project_id].mode == "mask"]
            templates = await self._templates(connection, masked)
            rows = [_redacted(item, policies[item.project_id].mode, templates) for item in done]
            redacted = await redact(connection, rows)
        held = [item.id for item in seen if item.id not in redacted]
        if held:
            await connection.execute(_HOLD, {"ids": held, **_range(held)})
        return redacted

    async def _templates(
        self, connection: psycopg.AsyncConnection[Any], masked: Sequence[_Seen]
    ) -> dict[tuple[UUID, int], Unfilled]:
        expected = {
            (item.template_id, item.template_version)
            for item in masked
            if item.template_id is not None and item.template_version is not None
        }
        if not expected:
            return {}
        parameters = (
            [template_id for template_id, _ in expected],
            [version for _, version in expected],
        )
        cursor = await connection.execute(_TEMPLATES, parameters)
        return {(row[0], row[1]): Unfilled(*row[2:]) for row in await cursor.fetchall()}


def _redacted(seen: _Seen, mode: str, templates: dict[tuple[UUID, int], Unfilled]) -> Redacted:
    if mode == "nothing":
        return Redacted(seen.id, {}, masked_recipient(seen.recipient))
    try:
        return _masked(seen, templates)
    except Exception as exc:  # noqa: BLE001 (what cannot be masked must go all the same)
        log.warning(
            "retention.content_unreadable", message_id=str(seen.id), error=type(exc).__name__
        )
        return Redacted(seen.id, {}, None)


def _masked(seen: _Seen, templates: dict[tuple[UUID, int], Unfilled]) -> Redacted:
    template = None
    if seen.template_id is not None and seen.template_version is not None:
        template = templates.get((seen.template_id, seen.template_version))
    return Redacted(seen.id, masked_content(seen.content, seen.connector_type, template), None)


def _range(ids: Iterable[UUID]) -> dict[str, UUID]:
    known = list(ids)
    return {"lowest": min(known), "highest": max(known)}


def _json_of(policies: Iterable[ContentPolicy]) -> str:
    return orjson.dumps(
        [
            {"project_id": policy.project_id, "mode": policy.mode, "before": policy.before}
            for policy in policies
        ]
    ).decode()
