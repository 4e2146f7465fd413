"""Circuit breakers: what a connector remembers of its failures."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE connectors ADD COLUMN circuit_opened_at TIMESTAMP WITH TIME ZONE")
    op.execute("ALTER TABLE connectors ADD COLUMN circuit_reason VARCHAR")
    op.execute("ALTER TABLE connectors ADD COLUMN circuit_probe_at TIMESTAMP WITH TIME ZONE")
    op.execute(
        "CREATE INDEX ix_connectors_unusable ON connectors (id) WHERE deleted_at IS NULL"
        " AND (NOT is_active OR broken_at IS NOT NULL OR circuit_opened_at IS NOT NULL)"
    )


def downgrade() -> None:
    op.execute("DROP INDEX ix_connectors_unusable")
    op.execute("ALTER TABLE connectors DROP COLUMN circuit_probe_at")
    op.execute("ALTER TABLE connectors DROP COLUMN circuit_reason")
    op.execute("ALTER TABLE connectors DROP COLUMN circuit_opened_at")
