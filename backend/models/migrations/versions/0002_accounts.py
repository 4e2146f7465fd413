"""Invitations to projects, tokens sent by mail, and the audit log by actor."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SCHEMA = """
CREATE TABLE account_tokens (
    token_hash BYTEA NOT NULL,
    user_id UUID NOT NULL,
    purpose VARCHAR(20) NOT NULL,
    email VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (token_hash),
    FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_account_tokens_user_id ON account_tokens (user_id);
CREATE TABLE invitations (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    project_id UUID NOT NULL,
    email VARCHAR(255) NOT NULL,
    role VARCHAR(20) NOT NULL,
    invited_by UUID NOT NULL,
    token_hash BYTEA NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    accepted_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (token_hash),
    FOREIGN KEY(project_id) REFERENCES projects (id),
    FOREIGN KEY(invited_by) REFERENCES users (id)
);
CREATE INDEX ix_invitations_project_id ON invitations (project_id);
CREATE INDEX ix_audit_entries_actor ON audit_entries (actor_id, id);
ALTER TABLE project_members ADD COLUMN updated_at TIMESTAMP WITH TIME ZONE;
UPDATE project_members SET updated_at = created_at;
ALTER TABLE project_members ALTER COLUMN updated_at SET NOT NULL
"""


def upgrade() -> None:
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE project_members DROP COLUMN updated_at")
    op.execute("DROP INDEX ix_audit_entries_actor")
    op.execute("DROP TABLE invitations")
    op.execute("DROP TABLE account_tokens")
