"""The audit log names the API key that acted."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
# The oldest revision of code that runs on this schema (docs/operations.md, "Upgrades").
oldest_code = "0014"


def upgrade() -> None:
    op.execute("ALTER TABLE audit_entries ADD COLUMN key_id UUID")


def downgrade() -> None:
    op.execute("ALTER TABLE audit_entries DROP COLUMN key_id")
