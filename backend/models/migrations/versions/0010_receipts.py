"""Callbacks as they came, and the receipts that no message has taken up yet."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_UPGRADE = """
CREATE TABLE callbacks (
    digest BYTEA NOT NULL,
    connector_id UUID NOT NULL,
    project_id UUID NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    query VARCHAR NOT NULL,
    body BYTEA NOT NULL,
    receipts INTEGER NOT NULL,
    PRIMARY KEY (digest)
);
CREATE INDEX ix_callbacks_received_at ON callbacks (received_at);
CREATE TABLE pending_receipts (
    id UUID NOT NULL,
    connector_id UUID NOT NULL,
    project_id UUID NOT NULL,
    provider_message_id VARCHAR,
    message_id UUID,
    status VARCHAR(20) NOT NULL,
    code VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    suppress BOOLEAN NOT NULL,
    happened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX ix_pending_receipts_due_at ON pending_receipts (due_at);
ALTER TABLE connectors ADD COLUMN callback_verified_at TIMESTAMP WITH TIME ZONE
"""

_DOWNGRADE = """
ALTER TABLE connectors DROP COLUMN callback_verified_at;
DROP TABLE pending_receipts;
DROP TABLE callbacks
"""


def upgrade() -> None:
    for statement in _UPGRADE.split(";"):
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWNGRADE.split(";"):
        op.execute(statement)
