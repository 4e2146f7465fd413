"""Processes that report themselves, fingerprints of the secrets, and which code the schema is good
for.
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
# The oldest revision of code that runs on this schema (docs/operations.md, "Upgrades").
oldest_code = "0014"

_SCHEMA = """
CREATE TABLE processes (
    id UUID NOT NULL,
    role VARCHAR(10) NOT NULL,
    host VARCHAR(255) NOT NULL,
    pid INTEGER NOT NULL,
    version VARCHAR(50) NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    beat_at TIMESTAMP WITH TIME ZONE NOT NULL,
    failing JSONB NOT NULL,
    jwt_fingerprint VARCHAR(32),
    PRIMARY KEY (id)
) WITH (fillfactor = 50);
CREATE TABLE secret_fingerprints (
    name VARCHAR(40) NOT NULL,
    fingerprint VARCHAR(32) NOT NULL,
    written_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE schema_compat (
    oldest_code VARCHAR(32) NOT NULL,
    PRIMARY KEY (oldest_code)
)
"""


def upgrade() -> None:
    for statement in _SCHEMA.split(";"):
        op.execute(statement)


def downgrade() -> None:
    for table in ("schema_compat", "secret_fingerprints", "processes"):
        op.execute(f"DROP TABLE {table}")
