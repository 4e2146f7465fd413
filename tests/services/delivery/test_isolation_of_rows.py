"""One bad thing stops only itself: whatever a row holds, the others' messages go on."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, reject
from hypothesis import settings as limits
from hypothesis import strategies as st
from psycopg import sql

from backend.models import Message
from backend.platform import Platform
from backend.services.policy.request import SendRequest
from tests.services.delivery.neighbours import (
    PATIENCE_S,
    Workers,
    execute,
    forget_queued,
)
from tests.world import World

_INSTANTS: Final = (
    "infinity",
    "-infinity",
    "0044-03-15 12:00:00 BC",
    "4713-11-24 00:00:00+00 BC",
    "0001-01-01 00:00:00+00",
    "10000-01-01 00:00:00+00",
    "294276-12-31 00:00:00+00",
    "1970-01-01 00:00:00+00",
)
_DEEP: Final = "[" * 1500 + "]" * 1500
_JSON: Final = (
    "null",
    "5",
    '"x"',
    "[]",
    "{}",
    "[1]",
    _DEEP,
    "9" * 5000,
    '{"n": 1e400}',
    '{"text": 5}',
    '{"text": null}',
    '{"text": "x", "template": 5}',
    '{"text": "x", "template": {"name": 1, "language": [], "parameters": 7}}',
    '{"steps": 5}',
    '{"steps": [{}], "fallbackAfterS": "x"}',
    '{"steps": [{"connectorId": "x"}, 5]}',
    '{"steps": [{"on": "failure"}, {"on": "failure", "connectorId": "x"}],'
    ' "fallbackAfterS": 1e300}',
    '{"pacing": 5}',
    '{"pacing": {"perSecond": 0}}',
    '{"pacing": {"perSecond": "x"}}',
    '{"pacing": {"perSecond": -1}}',
    '{"pacing": {"perRecipientPerSecond": 1e308}}',
    '{"retry": 5}',
    '{"retry": {"maxAgeS": 1e300}}',
    '{"retry": {"maxAgeS": "x", "baseS": -1}}',
    '{"retry": {"baseS": 1e308, "capS": 1e308}}',
)
_TEXTS: Final = ("", "x", "\u202e\U0001f4a3", "{{ x }}", "'; DROP TABLE messages; --", "x" * 5000)
_VALUES: Final[dict[str, tuple[str | None, ...]]] = {
    "timestamp with time zone": _INSTANTS,
    "jsonb": _JSON,
    "text": _TEXTS,
    "character varying": tuple(text[:10] for text in _TEXTS),
    "smallint": ("-32768", "32767", "0", "-1"),
    "integer": ("-2147483648", "2147483647", "0", "-1"),
    "boolean": ("true", "false"),
    "uuid": ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
}
# Which row it is, and whose; everything else may hold anything.
_KEPT: Final = {
    ("messages", "id"),
    ("messages", "project_id"),
    ("connectors", "id"),
    ("connectors", "project_id"),
    ("send_queue", "message_id"),
    ("send_queue", "project_id"),
}
_KEY: Final = {"messages": "id", "send_queue": "message_id", "connectors": "id"}


def _columns() -> list[tuple[str, str]]:
    tables = [table for table in Message.metadata.sorted_tables if table.name in _KEY]
    return [(t.name, c.name) for t in tables for c in t.columns if (t.name, c.name) not in _KEPT]


async def _spoil(platform: Platform, table: str, column: str, key: UUID, pick: int) -> str | None:
    """Write one of the values that the column's type has; rejects the example where Postgres
    refuses it.
    """
    query = (
        "SELECT data_type FROM information_schema.columns WHERE table_name = %s AND column_name"
        " = %s"
    )
    ((type_,),) = await execute(platform, query, (table, column))
    values = (None, *_VALUES[type_])
    value = values[pick % len(values)]
    update = sql.SQL("UPDATE {table} SET {column} = %s::text::{type} WHERE {key} = %s").format(
        table=sql.Identifier(table),
        column=sql.Identifier(column),
        key=sql.Identifier(_KEY[table]),
        type=sql.SQL(type_),
    )
    try:
        await execute(platform, update, (value, key))
    except psycopg.Error:
        reject()
    return value


@given(
    place=st.sampled_from(_columns()), pick=st.integers(0, 30), state=st.sampled_from([0, 0, 2, 3])
)
@example(place=("messages", "expires_at"), pick=2, state=0)
@example(place=("messages", "expires_at"), pick=6, state=0)
@example(place=("messages", "attempts"), pick=2, state=0)
@example(place=("messages", "content"), pick=1, state=0)
@example(place=("messages", "route"), pick=15, state=2)
@example(place=("send_queue", "tries"), pick=2, state=0)
@example(place=("connectors", "config"), pick=20, state=0)
@limits(max_examples=35, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
async def test_whatever_a_row_holds_a_second_projects_messages_arrive(
    workers: Workers, place: tuple[str, str], pick: int, state: int
) -> None:
    platform, (table, column) = workers.platform, place
    bad = await World.make(platform)
    connector = await bad.connector(config={})
    spoilt = (
        await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))
    ).message_id
    other = (await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))).message_id
    if state:
        # Sent and lost, or watched: no worker holds it, and its time has come.
        await execute(
            platform,
            "UPDATE send_queue SET state = %s, lease_until = now() - interval '1 s', due_at = now()"
            " WHERE message_id = %s",
            (state, spoilt),
        )
    await _spoil(platform, table, column, connector.id if table == "connectors" else spoilt, pick)
    await workers.until_sent(await workers.send_honest())
    await workers.turn()
    if table != "connectors":
        # Not even the same connector's other messages.
        await bad.wait_for(other, "delivered", timeout_s=PATIENCE_S)
    # What cannot be worked on does not wait for the next try for ever.
    waiting = await execute(
        platform,
        "SELECT state FROM send_queue WHERE message_id = %s AND claim IS NOT NULL",
        (spoilt,),
    )
    assert waiting == [] or table == "send_queue"
    await forget_queued(platform, bad.project_id)


@pytest.mark.parametrize(
    ("expires_at", "status"),
    [("0044-03-15 BC", "expired"), ("10000-01-01", "delivered"), ("infinity", "delivered")],
)
async def test_an_end_beyond_pythons_time_stops_no_other(
    workers: Workers, expires_at: str, status: str
) -> None:
    bad = await World.make(workers.platform)
    connector = await bad.connector()
    spoilt = (
        await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))
    ).message_id
    await execute(
        workers.platform, "UPDATE messages SET expires_at = %s WHERE id = %s", (expires_at, spoilt)
    )
    ids = await workers.send_honest()
    await workers.platform.doorbell.drain()
    # One slice, no lease that has to run out first.
    await workers.engine.drain_slice(0.5)
    for message_id in ids:
        await workers.honest.wait_for(message_id, "sent", timeout_s=5)
    await bad.wait_for(spoilt, status, timeout_s=5)


async def test_a_message_that_cannot_be_claimed_is_failed_with_a_reason(workers: Workers) -> None:
    bad = await World.make(workers.platform)
    connector = await bad.connector()
    spoilt = (
        await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))
    ).message_id
    await execute(
        workers.platform, "UPDATE send_queue SET tries = 32767 WHERE message_id = %s", (spoilt,)
    )
    await workers.until_sent(await workers.send_honest())
    message = await bad.message(spoilt)
    assert (message.status, message.error_code) == ("failed", "MESSAGE_UNREADABLE")
    assert "NumericValueOutOfRange" in (message.error_reason or "")
    assert await execute(
        workers.platform, "SELECT 1 FROM dead_letters WHERE message_id = %s", (spoilt,)
    )
