"""What a message remembers of its further ways, and of the campaign it belongs to."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without defaults that rewrite: a constant default is metadata only.
    op.execute("ALTER TABLE messages ADD COLUMN route JSONB")
    op.execute("ALTER TABLE messages ADD COLUMN step SMALLINT DEFAULT 0 NOT NULL")
    op.execute("ALTER TABLE messages ADD COLUMN campaign_id UUID")


def downgrade() -> None:
    op.execute("ALTER TABLE messages DROP COLUMN campaign_id")
    op.execute("ALTER TABLE messages DROP COLUMN step")
    op.execute("ALTER TABLE messages DROP COLUMN route")
