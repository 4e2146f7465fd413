"""How long a project keeps content and messages, and how many messages of a count are there no
more.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_UPGRADE = """
ALTER TABLE projects ADD COLUMN content_retention VARCHAR(10);
ALTER TABLE projects ADD COLUMN content_retention_days INTEGER;
ALTER TABLE projects ADD COLUMN retention_days INTEGER;
ALTER TABLE messages ADD COLUMN redacted_at TIMESTAMP WITH TIME ZONE;
CREATE TABLE content_cursors (
    project_id UUID NOT NULL,
    walked_to UUID NOT NULL,
    PRIMARY KEY (project_id)
);
CREATE TABLE content_holds (
    message_id UUID NOT NULL,
    project_id UUID NOT NULL,
    check_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (message_id)
);
CREATE INDEX ix_content_holds_check_at ON content_holds (check_at)
"""

# Beside the status counts, which analytics keep: lists subtract these.
_COUNT_REMOVED = """
CREATE FUNCTION count_removed_messages() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
INSERT INTO rollup_deltas (project_id, slot, connector_id, connector_type, mode, measure, value,
    messages, last_at)
SELECT project_id, date_bin('15 minutes', created_at, '2000-01-01+00'), connector_id,
    min(connector_type), mode,
    'removed', status, count(*), NULL
FROM removed GROUP BY 1, 2, 3, 5, 7;
RETURN NULL; END $$
"""


# Hours that begin 15 or 30 minutes past the full one; folding keeps them up to date from now on.
_HOURS_OF_OTHER_ZONES = """
INSERT INTO message_rollups (project_id, measure, grain, slot, connector_id, mode, value,
    connector_type, messages,
    last_at)
SELECT project_id, measure, 60 + past,
    date_bin('1 hour', slot, '2000-01-01+00'::timestamptz + make_interval(mins => past)),
    connector_id, mode, value, min(connector_type), sum(messages), NULL
FROM message_rollups, unnest(ARRAY[15, 30]) past
WHERE measure = 'status' AND grain = 15
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""


def upgrade() -> None:
    for statement in _UPGRADE.split(";"):
        op.execute(statement)
    op.execute(_HOURS_OF_OTHER_ZONES)
    op.execute(_COUNT_REMOVED)
    op.execute(
        "CREATE TRIGGER count_removed_messages AFTER DELETE ON messages REFERENCING OLD TABLE AS"
        " removed FOR EACH STATEMENT EXECUTE FUNCTION count_removed_messages()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER count_removed_messages ON messages")
    op.execute("DROP FUNCTION count_removed_messages")
    op.execute("DELETE FROM rollup_deltas WHERE measure = 'removed'")
    op.execute("DELETE FROM message_rollups WHERE measure = 'removed' OR grain IN (75, 90)")
    op.execute("DROP TABLE content_holds")
    op.execute("DROP TABLE content_cursors")
    op.execute("ALTER TABLE messages DROP COLUMN redacted_at")
    for column in ("retention_days", "content_retention_days", "content_retention"):
        op.execute(f"ALTER TABLE projects DROP COLUMN {column}")
