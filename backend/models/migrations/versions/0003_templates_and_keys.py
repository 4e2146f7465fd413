"""Versions of templates; the overlap of a regenerated key, and what keys have counted."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SCHEMA = """
ALTER TABLE api_keys
    ADD COLUMN previous_hash BYTEA,
    ADD COLUMN previous_expires_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN total_requests BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN failed_requests BIGINT NOT NULL DEFAULT 0,
    ADD UNIQUE (previous_hash);
ALTER TABLE api_keys ALTER COLUMN total_requests DROP DEFAULT,
    ALTER COLUMN failed_requests DROP DEFAULT;
CREATE TABLE template_versions (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    project_id UUID NOT NULL,
    template_id UUID NOT NULL,
    version INTEGER NOT NULL,
    created_by UUID,
    restored_from INTEGER,
    content VARCHAR NOT NULL,
    subject VARCHAR,
    html VARCHAR,
    variables JSONB NOT NULL,
    variants JSONB NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT uq_template_versions UNIQUE (template_id, version),
    FOREIGN KEY(template_id) REFERENCES templates (id)
)
"""

# Versions are listed by id: the template's own is a UUIDv7 that is older than those to come.
_STORE_CURRENT = """
INSERT INTO template_versions
    (id, created_at, project_id, template_id, version, content, subject, html, variables, variants)
SELECT id, updated_at, project_id, id, version, content, subject, html, variables, variants
    FROM templates
"""


def upgrade() -> None:
    for statement in _SCHEMA.split(";"):
        op.execute(statement)
    op.execute(_STORE_CURRENT)


def downgrade() -> None:
    op.execute("DROP TABLE template_versions")
    for column in ("failed_requests", "total_requests", "previous_expires_at", "previous_hash"):
        op.execute(f"ALTER TABLE api_keys DROP COLUMN {column}")
