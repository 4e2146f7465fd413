"""Saved routes, and pools of connectors."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SCHEMA = """
ALTER TABLE connectors ADD COLUMN weight SMALLINT;
CREATE TABLE routes (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    project_id UUID NOT NULL,
    name VARCHAR(100) NOT NULL,
    steps JSONB NOT NULL,
    fallback_after_s INTEGER,
    deleted_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(project_id) REFERENCES projects (id)
);
CREATE UNIQUE INDEX uq_routes_name ON routes (project_id, name) WHERE deleted_at IS NULL
"""


def upgrade() -> None:
    for statement in _SCHEMA.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE routes")
    op.execute("ALTER TABLE connectors DROP COLUMN weight")
