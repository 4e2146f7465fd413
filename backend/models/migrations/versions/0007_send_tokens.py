"""Send tokens: what they are signed with, and which are used up."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SCHEMA = """
CREATE TABLE send_token_secrets (
    kid VARCHAR(40) NOT NULL,
    key_id UUID NOT NULL,
    project_id UUID NOT NULL,
    key_hash BYTEA NOT NULL,
    secret_encrypted VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (kid),
    FOREIGN KEY(key_id) REFERENCES api_keys (id),
    FOREIGN KEY(project_id) REFERENCES projects (id)
);
CREATE INDEX ix_send_token_secrets_key_id ON send_token_secrets (key_id);
CREATE TABLE used_tokens (
    project_id UUID NOT NULL,
    jti VARCHAR(64) NOT NULL,
    message_id UUID NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (project_id, jti)
);
CREATE INDEX ix_used_tokens_expires_at ON used_tokens (expires_at)
"""


def upgrade() -> None:
    for statement in _SCHEMA.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE used_tokens")
    op.execute("DROP TABLE send_token_secrets")
