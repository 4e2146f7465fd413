"""Campaigns and their rows."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_SCHEMA = """
CREATE TABLE campaigns (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    project_id UUID NOT NULL,
    name VARCHAR(255) NOT NULL,
    state VARCHAR(10) NOT NULL,
    mode VARCHAR(10) NOT NULL,
    key_id UUID,
    created_by UUID,
    connector_id UUID,
    connector_type VARCHAR(50),
    template_id UUID,
    message VARCHAR,
    subject VARCHAR,
    html VARCHAR,
    priority VARCHAR(10) NOT NULL,
    metadata JSONB,
    columns JSONB NOT NULL,
    mapping JSONB NOT NULL,
    send_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE,
    total_rows INTEGER NOT NULL,
    accepted_rows INTEGER,
    failed_rows INTEGER,
    next_feed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    reason VARCHAR,
    started_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(project_id) REFERENCES projects (id)
);
CREATE INDEX ix_campaigns_project ON campaigns (project_id, id);
CREATE INDEX ix_campaigns_running ON campaigns (next_feed_at) WHERE state = 'running';
CREATE TABLE campaign_rows (
    campaign_id UUID NOT NULL,
    line INTEGER NOT NULL,
    project_id UUID NOT NULL,
    cells JSONB,
    state VARCHAR(10) NOT NULL,
    message_id UUID,
    error_field VARCHAR,
    error_code VARCHAR(50),
    error_reason VARCHAR,
    PRIMARY KEY (campaign_id, line),
    FOREIGN KEY(campaign_id) REFERENCES campaigns (id)
);
CREATE INDEX ix_campaign_rows_state ON campaign_rows (campaign_id, state, line);
CREATE INDEX ix_messages_campaign ON messages (campaign_id, id) WHERE campaign_id IS NOT NULL
"""


def upgrade() -> None:
    for statement in _SCHEMA.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP INDEX ix_messages_campaign")
    op.execute("DROP TABLE campaign_rows")
    op.execute("DROP TABLE campaigns")
