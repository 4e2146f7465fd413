"""Dead letters, and quiet hours."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SCHEMA = """
CREATE TABLE dead_letters (
    message_id UUID NOT NULL,
    project_id UUID NOT NULL,
    PRIMARY KEY (message_id)
);
CREATE INDEX ix_dead_letters_project ON dead_letters (project_id, message_id);
ALTER TABLE projects ADD COLUMN quiet_hours JSONB
"""


def upgrade() -> None:
    for statement in _SCHEMA.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE projects DROP COLUMN quiet_hours")
    op.execute("DROP TABLE dead_letters")
