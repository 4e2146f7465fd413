"""The statement that makes messages ours, with what must become true once beside them.

Keys and send tokens are settled by their unique constraints, messages written only for the winners,
rows sorted so that two processes cannot deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from backend.ledger.events import insert_events
from backend.ledger.idempotency import TAKE_OVER
from backend.models.recordset import JSONB, SMALLINT, recordset
from backend.models.send_queue import DUE


@dataclass(frozen=True, slots=True)
class _Row:
    """A message as the statement reads it: the columns that every send has."""

    id: UUID
    project_id: UUID
    key_id: UUID | None
    connector_id: UUID
    connector_type: str
    template_id: UUID | None
    template_version: int | None
    mode: str
    recipient: str
    content: Annotated[Any, JSONB]
    status: str
    priority: str
    lane: Annotated[int, SMALLINT]
    on_uncertain: str
    metadata: Annotated[Any, JSONB]
    send_at: datetime | None
    expires_at: datetime | None
    due_at: datetime | None
    resent_from: UUID | None
    campaign_id: UUID | None
    route: Annotated[Any, JSONB]
    idem_route: str | None
    idem_key: str | None
    idem_hash: str | None


@dataclass(frozen=True, slots=True)
class _TokenRow(_Row):
    token_jti: str | None
    token_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class _RedriveRow(_TokenRow):
    redrives: bool | None
    event_id: UUID | None
    event_data: Annotated[Any, JSONB]


@dataclass(frozen=True, slots=True)
class _CampaignRow(_Row):
    campaign_line: int | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row of the batch that was not written."""

    id: UUID
    is_suppressed: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """Which answer is looked for: that of an earlier request under a key."""

    id: UUID
    project_id: UUID
    idem_route: str
    idem_key: str


@dataclass(frozen=True, slots=True)
class Earlier:
    id: UUID
    message_id: UUID
    request_hash: bytes
    status: str


@dataclass(frozen=True, slots=True)
class _Guard:
    """What must become true once, together with the message.

    `ctes` take it, under locks in order, before any Idempotency-Key is taken: so two processes
    cannot wait for each other. `condition` lets through the rows of `batch` that got it.
    """

    ctes: str
    condition: str


# A send token makes one message. A repeat under its Idempotency-Key, which gets the first answer,
# uses up nothing.
_SEND_TOKEN: Final = _Guard(
    ctes="""
spent AS (
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
)""",
    condition="(token_jti IS NULL OR id IN (SELECT message_id FROM spent))",
)
# The request that deletes a dead letter sends it, once.
_DEAD_LETTER: Final = _Guard(
    ctes=f"""
locked AS MATERIALIZED (
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
), redriven AS ({
        insert_events(
            "SELECT event_id, project_id, resent_from, 'message.redriven', event_data, now()"
            " FROM chosen"
        )
    }
)""",
    condition="(redrives IS NULL OR id IN (SELECT id FROM chosen))",
)
# A campaign's row is accepted once, and only while the campaign runs: pausing and canceling wait
# for its lock.
_CAMPAIGN_LINE: Final = _Guard(
    ctes="""
running AS MATERIALIZED (
    SELECT id FROM campaigns WHERE state = 'running' AND id IN (SELECT campaign_id FROM batch)
    FOR SHARE
), taken AS (
    UPDATE campaign_rows r SET state = 'accepted', message_id = b.id, cells = NULL
    FROM batch b
    WHERE r.campaign_id = b.campaign_id AND r.line = b.campaign_line AND r.state = 'pending'
        AND NOT b.is_suppressed AND b.campaign_id IN (SELECT id FROM running)
    RETURNING b.id AS message_id
)""",
    condition="(campaign_line IS NULL OR id IN (SELECT message_id FROM taken))",
)

# The batch with what keeps a row out whatever else holds.
_BATCH: Final = """
batch AS MATERIALIZED (
    SELECT r.*, s.id IS NOT NULL AS is_suppressed
    FROM {rows}
    LEFT JOIN suppressions s
        ON s.project_id = r.project_id AND s.channel = r.connector_type
            AND s.recipient = r.recipient
)"""
# Idempotency-Keys are taken in order; one that was taken before keeps its row out.
_KEYED: Final = """
keyed AS (
    INSERT INTO idempotency_records AS i
        (project_id, route, key, request_hash, message_id, expires_at)
    SELECT project_id, idem_route, idem_key, decode(idem_hash, 'hex'), id,
        now() + make_interval(secs => %(idempotency_ttl_s)s)
    FROM {source} WHERE idem_key IS NOT NULL AND NOT is_suppressed
    ORDER BY project_id, idem_route, idem_key
{take_over}
    RETURNING message_id
), fresh AS MATERIALIZED (
    SELECT * FROM {source}
    WHERE NOT is_suppressed AND (idem_key IS NULL OR id IN (SELECT message_id FROM keyed))
)"""
_WRITTEN: Final = f"""
written AS (
    INSERT INTO messages (id, project_id, key_id, connector_id, connector_type, template_id,
        template_version, mode, recipient, content, status, priority, on_uncertain, metadata,
        attempts, send_at, expires_at, resent_from, campaign_id, route, created_at, updated_at)
    SELECT id, project_id, key_id, connector_id, connector_type, template_id,
        template_version, mode, recipient, content, status, priority, on_uncertain, metadata,
        0, send_at, expires_at, resent_from, campaign_id, route, now(), now()
    FROM fresh
), queued AS (
    INSERT INTO send_queue (message_id, project_id, connector_id, lane, state, tries, due_at,
        has_next, expires_at)
    SELECT id, project_id, connector_id, lane, {DUE}, 0, coalesce(due_at, send_at, now()),
        route IS NOT NULL, expires_at
    FROM fresh
)"""
# Only the rows that were not written, so that the usual answer is empty.
_LEFT_OUT: Final = """
SELECT b.id, b.is_suppressed FROM batch b WHERE NOT EXISTS (SELECT 1 FROM fresh f WHERE f.id = b.id)
"""


def _accept(row: type[_Row], *guards: _Guard) -> str:
    """Return the statement that writes a batch of `row`, under these guards."""
    source = "granted" if guards else "batch"
    ctes = [_BATCH.format(rows=recordset(row, "r")), *(guard.ctes for guard in guards)]
    if guards:
        condition = " AND ".join(guard.condition for guard in guards)
        ctes.append(f"\ngranted AS MATERIALIZED (SELECT * FROM batch WHERE {condition})")
    ctes += [_KEYED.format(source=source, take_over=TAKE_OVER), _WRITTEN]
    return f"WITH {','.join(ctes)}{_LEFT_OUT}"


# Sends of servers, which are nearly all, do not pay for guards. Tokens and redrives come with
# requests, campaigns are fed by a worker: no process has both.
ACCEPT: Final = _accept(_Row)
ACCEPT_WITH_TOKENS: Final = _accept(_TokenRow, _SEND_TOKEN)
ACCEPT_WITH_DEAD_LETTERS: Final = _accept(_RedriveRow, _SEND_TOKEN, _DEAD_LETTER)
ACCEPT_OF_CAMPAIGN: Final = _accept(_CampaignRow, _CAMPAIGN_LINE)

# The answers to earlier requests under the same keys.
EARLIER: Final = f"""
SELECT r.id, i.message_id, i.request_hash, coalesce(m.status, 'queued') AS status
FROM {recordset(Probe, "r")}
JOIN idempotency_records i
    ON i.project_id = r.project_id AND i.route = r.idem_route AND i.key = r.idem_key
LEFT JOIN LATERAL (
    SELECT CASE WHEN status = 'scheduled' THEN status ELSE 'queued' END AS status
    FROM messages WHERE messages.id = i.message_id
) m ON true
"""
