"""Write millions of messages of a month straight into their partitions: minutes, not hours.

A partition is detached from its table, filled and attached again in a single transaction. Triggers
on `messages` don't see that, so the rollups are counted again at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg

from backend.ids import new_id
from backend.models.partitions import (
    MESSAGES_FILLFACTOR,
    first_id,
    month_start,
    partition_statements,
)
from backend.models.session import RawPool
from backend.services.reporting.rollups import rebuild_rollups

DAYS: Final = 30
_STEP: Final = 500_000
RARE_KEY: Final = new_id()
RARE_TEMPLATE: Final = new_id()

# Messages whose states, keys and templates are as common as in a real project: of a thousand, 2 are
# undelivered, 50 failed and so on; of 100,000, one has the rare key and template.
_FILL: Final = """
INSERT INTO {table} (id, project_id, key_id, connector_id, connector_type, template_id,
    template_version, mode, recipient, content, status, priority, on_uncertain, attempts,
    error_code, error_reason, sent_at, delivered_at, created_at, updated_at)
SELECT
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3)
        || '8' || substr(hash, 4, 15))::uuid,
    %(project)s, CASE WHEN n %% 100000 = 7 THEN %(rare_key)s ELSE %(key)s END,
    (%(connectors)s::uuid[])[1 + n %% 5], 'telegram',
    CASE WHEN n %% 100000 = 7 THEN %(rare_template)s ELSE %(template)s END, 1,
    CASE WHEN n %% 50 = 0 THEN 'test' ELSE 'live' END,
    '+1415' || lpad((n * 7919 %% 10000000)::text, 7, '0'),
    jsonb_build_object('text', 'Your code is ' || n), status, 'normal', 'hold', 1,
    CASE WHEN status = 'failed' THEN 'CHAT_NOT_FOUND' END,
    CASE WHEN status = 'failed' THEN 'chat not found' END,
    at + interval '1 second',
    CASE WHEN status IN ('delivered', 'read') THEN at + interval '3 seconds' END,
    at, at
FROM (
    SELECT n, md5(n::text) AS hash,
        %(start)s::timestamptz + make_interval(secs => n * %(every_s)s::float8) AS at,
        CASE
            WHEN n %% 100000 = 99 THEN 'canceled'
            WHEN n %% 1000 < 2 THEN 'undelivered'
            WHEN n %% 1000 < 52 THEN 'failed'
            WHEN n %% 1000 < 200 THEN 'sent'
            WHEN n %% 1000 < 300 THEN 'read'
            ELSE 'delivered'
        END AS status
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
) numbered
"""
# Recipients come in random order: building their index afterwards is several times as fast.
_RECIPIENT_INDEX: Final = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = %s::regclass AND pg_get_indexdef(indexrelid) LIKE '%%recipient%%'
"""


@dataclass(frozen=True, slots=True)
class Filling:
    """Whose messages to write."""

    project_id: UUID
    connector_id: UUID
    template_id: UUID
    key_id: UUID


async def fill(pool: RawPool, filling: Filling, rows: int) -> None:
    """Write `rows` messages, spread evenly over the last DAYS days, and count them."""
    end = datetime.now(UTC)
    start = end - timedelta(days=DAYS)
    every_s = DAYS * 86_400 / rows
    values = {
        "project": filling.project_id,
        # Counters are kept per connector.
        "connectors": [filling.connector_id, *(new_id() for _ in range(4))],
        "template": filling.template_id,
        "key": filling.key_id,
        "rare_key": RARE_KEY,
        "rare_template": RARE_TEMPLATE,
        "start": start,
        "every_s": every_s,
    }
    async with pool.connection() as connection:
        for statement in partition_statements(start):
            await connection.execute(statement)
        first = 1
        month = month_start(start)
        while first <= rows:
            # Message n was made at start + n * every_s; the month's last message comes before the
            # next month begins.
            following = month_start(month, 1)
            last = min(rows, int(((following - start).total_seconds() - 0.001) / every_s))
            await _fill_month(connection, month, range(first, last + 1), values)
            first, month = last + 1, following
        await connection.execute("VACUUM ANALYZE messages")
    await rebuild_rollups(pool)
    async with pool.connection() as connection:
        await connection.execute("VACUUM ANALYZE message_rollups")
        await connection.execute("CHECKPOINT")


async def _fill_month(
    connection: psycopg.AsyncConnection[Any],
    month: datetime,
    numbers: range,
    values: dict[str, Any],
) -> None:
    following = month_start(month, 1)
    table = f"messages_p{month:%Y%m}"
    bounds = f"FOR VALUES FROM ('{first_id(month)}') TO ('{first_id(following)}')"
    async with connection.transaction():
        await connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
        await connection.execute(f"ALTER TABLE messages DETACH PARTITION {table}")
        indexes = await (await connection.execute(_RECIPIENT_INDEX, (table,))).fetchall()
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        # Full pages, as messages leave them after their updates: without room that new messages
        # would look for.
        await connection.execute(f"ALTER TABLE {table} SET (fillfactor = 100)")
        for first in numbers[::_STEP]:
            span = {"first": first, "last": min(numbers[-1], first + _STEP - 1)}
            await connection.execute(_FILL.format(table=table), {**values, **span})
        for _, definition in indexes:
            await connection.execute(definition)
        await connection.execute(f"ALTER TABLE {table} SET (fillfactor = {MESSAGES_FILLFACTOR})")
        await connection.execute(f"ALTER TABLE messages ATTACH PARTITION {table} {bounds}")
