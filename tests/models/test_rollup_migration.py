"""Migration 0005 on a database with history: what is there is counted once, and what comes after too."""

from __future__ import annotations

from typing import Any

from alembic import command
from sqlalchemy import Connection, create_engine, text

from backend.models import migrate
from backend.models.session import sqlalchemy_url

_INSERT = """
INSERT INTO messages (id, project_id, connector_id, connector_type, mode, recipient, content, status, priority,
    on_uncertain, attempts, error_code, created_at, updated_at)
SELECT uuidv7(), '{project}', '{project}', 'sandbox', 'live', 'ada', '{{}}', status, 'normal', 'hold', 1,
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
        assert _counts(connection) == [("failure", "400", 1), ("status", "failed", 1), ("status", "sent", 2)]
        connection.execute(text(_INSERT))
        connection.execute(text("UPDATE messages SET status = 'read' WHERE status = 'sent'"))
        assert _counts(connection) == [
            ("failure", "400", 2),
            ("status", "failed", 2),
            ("status", "read", 4),
            ("status", "sent", 0),
        ]
