"""The first schema: accounts, projects, what they own, and the message tables, partitioned."""

from __future__ import annotations

from alembic import op

from backend.models.partitions import PARTITIONED, partition_statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SCHEMA = """
CREATE TABLE attempts (
    id UUID NOT NULL,
    message_id UUID NOT NULL,
    project_id UUID NOT NULL,
    connector_id UUID NOT NULL,
    number INTEGER NOT NULL,
    outcome VARCHAR(20) NOT NULL,
    provider_code VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    answer JSONB,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    duration_ms FLOAT NOT NULL,
    retry_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
)
 PARTITION BY RANGE (id);
CREATE INDEX ix_attempts_message ON attempts (message_id);
CREATE TABLE audit_entries (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    project_id UUID,
    actor_id UUID,
    action VARCHAR(50) NOT NULL,
    subject_id UUID,
    address VARCHAR(64) NOT NULL,
    before JSONB,
    after JSONB,
    PRIMARY KEY (id)
);
CREATE INDEX ix_audit_entries_project ON audit_entries (project_id, id);
CREATE TABLE events (
    id UUID NOT NULL,
    project_id UUID NOT NULL,
    message_id UUID NOT NULL,
    type VARCHAR(50) NOT NULL,
    data JSONB NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id)
)
 PARTITION BY RANGE (id);
CREATE INDEX ix_events_message ON events (message_id);
CREATE INDEX ix_events_project ON events (project_id, id);
CREATE TABLE idempotency_records (
    project_id UUID NOT NULL,
    route VARCHAR(50) NOT NULL,
    key VARCHAR(255) NOT NULL,
    request_hash BYTEA NOT NULL,
    message_id UUID NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (project_id, route, key)
);
CREATE INDEX ix_idempotency_records_expires_at ON idempotency_records (expires_at);
CREATE TABLE messages (
    id UUID NOT NULL,
    project_id UUID NOT NULL,
    key_id UUID,
    connector_id UUID NOT NULL,
    connector_type VARCHAR(50) NOT NULL,
    template_id UUID,
    template_version INTEGER,
    mode VARCHAR(10) NOT NULL,
    recipient VARCHAR NOT NULL,
    content JSONB NOT NULL,
    status VARCHAR(20) NOT NULL,
    priority VARCHAR(10) NOT NULL,
    on_uncertain VARCHAR(10) NOT NULL,
    metadata JSONB,
    attempts INTEGER NOT NULL,
    provider_message_id VARCHAR,
    error_code VARCHAR,
    error_reason VARCHAR,
    send_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE,
    sent_at TIMESTAMP WITH TIME ZONE,
    delivered_at TIMESTAMP WITH TIME ZONE,
    read_at TIMESTAMP WITH TIME ZONE,
    failed_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id)
)
 PARTITION BY RANGE (id);
CREATE INDEX ix_messages_project ON messages (project_id, id);
CREATE TABLE provider_refs (
    connector_id UUID NOT NULL,
    provider_message_id VARCHAR NOT NULL,
    message_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (connector_id, provider_message_id)
);
CREATE TABLE send_queue (
    message_id UUID NOT NULL,
    project_id UUID NOT NULL,
    connector_id UUID NOT NULL,
    lane SMALLINT NOT NULL,
    state SMALLINT NOT NULL,
    tries SMALLINT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    claim UUID,
    lease_until TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (message_id)
)
 WITH (fillfactor = 70);
CREATE INDEX ix_send_queue_due ON send_queue (lane, connector_id, due_at, message_id) WHERE state = 0;
CREATE INDEX ix_send_queue_lease ON send_queue (lease_until) WHERE state <> 0;
CREATE TABLE users (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    email VARCHAR(255) NOT NULL,
    password_hash VARCHAR(255) NOT NULL,
    name VARCHAR(255) NOT NULL,
    is_active BOOLEAN NOT NULL,
    is_platform_admin BOOLEAN NOT NULL,
    email_confirmed_at TIMESTAMP WITH TIME ZONE,
    last_login_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (email)
);
CREATE TABLE projects (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    user_id UUID NOT NULL,
    name VARCHAR(255) NOT NULL,
    description VARCHAR,
    plan VARCHAR(20) NOT NULL,
    is_active BOOLEAN NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_projects_user_id ON projects (user_id);
CREATE TABLE sessions (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    user_id UUID NOT NULL,
    user_agent VARCHAR(255) NOT NULL,
    address VARCHAR(64) NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_sessions_user_id ON sessions (user_id);
CREATE TABLE api_keys (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    project_id UUID NOT NULL,
    is_active BOOLEAN NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    name VARCHAR(255) NOT NULL,
    kind VARCHAR(20) NOT NULL,
    mode VARCHAR(10) NOT NULL,
    key_hash BYTEA NOT NULL,
    hint VARCHAR(40) NOT NULL,
    scopes JSONB NOT NULL,
    allowed_origins JSONB NOT NULL,
    rate_limit INTEGER,
    expires_at TIMESTAMP WITH TIME ZONE,
    last_used_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(project_id) REFERENCES projects (id),
    UNIQUE (key_hash)
);
CREATE INDEX ix_api_keys_project_id ON api_keys (project_id);
CREATE TABLE connectors (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    project_id UUID NOT NULL,
    is_active BOOLEAN NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    type VARCHAR(50) NOT NULL,
    name VARCHAR(255) NOT NULL,
    credentials_encrypted VARCHAR NOT NULL,
    config JSONB NOT NULL,
    is_default BOOLEAN NOT NULL,
    broken_at TIMESTAMP WITH TIME ZONE,
    broken_reason VARCHAR,
    last_tested_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(project_id) REFERENCES projects (id)
);
CREATE INDEX ix_connectors_project_id ON connectors (project_id);
CREATE UNIQUE INDEX uq_connectors_default ON connectors (project_id, type) WHERE is_default AND deleted_at IS NULL;
CREATE TABLE project_members (
    project_id UUID NOT NULL,
    user_id UUID NOT NULL,
    role VARCHAR(20) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (project_id, user_id),
    FOREIGN KEY(project_id) REFERENCES projects (id),
    FOREIGN KEY(user_id) REFERENCES users (id)
);
CREATE INDEX ix_project_members_user_id ON project_members (user_id);
CREATE TABLE refresh_tokens (
    token_hash BYTEA NOT NULL,
    session_id UUID NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (token_hash),
    FOREIGN KEY(session_id) REFERENCES sessions (id)
);
CREATE INDEX ix_refresh_tokens_session_id ON refresh_tokens (session_id);
CREATE TABLE suppressions (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    project_id UUID NOT NULL,
    channel VARCHAR(50) NOT NULL,
    recipient VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    message_id UUID,
    PRIMARY KEY (id),
    UNIQUE (project_id, channel, recipient),
    FOREIGN KEY(project_id) REFERENCES projects (id)
);
CREATE TABLE templates (
    id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    project_id UUID NOT NULL,
    is_active BOOLEAN NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    name VARCHAR(255) NOT NULL,
    connector_type VARCHAR(50) NOT NULL,
    content VARCHAR NOT NULL,
    subject VARCHAR,
    html VARCHAR,
    variables JSONB NOT NULL,
    variants JSONB NOT NULL,
    access VARCHAR(20) NOT NULL,
    on_uncertain VARCHAR(10) NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(project_id) REFERENCES projects (id)
);
CREATE INDEX ix_templates_project_id ON templates (project_id);
"""

_TABLES = (
    "templates",
    "suppressions",
    "refresh_tokens",
    "project_members",
    "connectors",
    "api_keys",
    "sessions",
    "projects",
    "users",
    "send_queue",
    "provider_refs",
    "messages",
    "idempotency_records",
    "events",
    "audit_entries",
    "attempts",
)


def upgrade() -> None:
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            op.execute(statement)
    for table in PARTITIONED:
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    for statement in partition_statements():
        op.execute(statement)


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"DROP TABLE {table}")
