"""Migration 0005 on a database with history: what is there is counted once, and what comes after
too.
"""

from __future__ import annotations

from typing import Any

from alembic import command
from sqlalchemy import Connection, create_engine, text

from backend.models import migrate
from backend.models.session import sqlalchemy_url

_INSERT = """
INSERT INTO messages (id, project_id, connector_id, connector_type, mode, recipient, content,
    status, priority,
    on_uncertain, attempts, error_code, created_at, updated_at)
SELECT uuidv7(), '{project}', '{project}', 'sandbox', 'live', 'ada', '{{}}', status, 'normal',
    'hold', 1,
    CASE WHEN status = 'failed' THEN '400' END, now(), now()
FROM unnest(ARRAY['sent', 'sent', 'failed']) AS status
""".format(project="01900000-0000-7000-8000-000000000001")
_COUNTS = "SELECT measure, value, sum(messages) FROM rollup_deltas GROUP BY 1, 2 ORDER BY 1, 2"


def _counts(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(_COUNTS))]


def test_messages_from_before_the_rollups_are_counted(empty_database: str) -> None:
    config = migrate._config()
    with create_engine(sqlalchemy_url(empty_database)).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        connection.execute(text(_INSERT))
        command.upgrade(config, "0005")
        assert _counts(connection) == [
            ("failure", "400", 1),
            ("status", "failed", 1),
            ("status", "sent", 2),
        ]
        connection.execute(text(_INSERT))
        connection.execute(text("UPDATE messages SET status = 'read' WHERE status = 'sent'"))
        assert _counts(connection) == [
            ("failure", "400", 2),
            ("status", "failed", 2),
            ("status", "read", 4),
            ("status", "sent", 0),
        ]


_QUARTERS = """
INSERT INTO message_rollups (project_id, measure, grain, slot, connector_id, mode, value,
    connector_type, messages)
SELECT '{project}', 'status', 15, '2026-03-01 10:00+00'::timestamptz + n * interval '15 minutes',
    '{project}', 'live',
    'sent', 'sandbox', n
FROM generate_series(1, 5) n
""".format(project="01900000-0000-7000-8000-000000000001")
_HOURS = """
SELECT grain, to_char(slot AT TIME ZONE 'UTC', 'HH24:MI'), messages FROM message_rollups
    WHERE grain > 60
ORDER BY grain, slot
"""


def test_hours_of_zones_off_the_full_hour_are_summed_from_quarters(empty_database: str) -> None:
    config = migrate._config()
    with create_engine(sqlalchemy_url(empty_database)).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0012")
        connection.execute(text(_QUARTERS))
        command.upgrade(config, "0013")
        rows = [tuple(row) for row in connection.execute(text(_HOURS))]
    # Quarters at 10:15 (1), 10:30 (2), 10:45 (3), 11:00 (4) and 11:15 (5); hours from :15 (75) and
    # from :30 (90).
    assert rows == [(75, "10:15", 10), (75, "11:15", 5), (90, "09:30", 1), (90, "10:30", 14)]
