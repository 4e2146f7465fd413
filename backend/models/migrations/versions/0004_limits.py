"""What message actions store, and the indexes that filtered lists walk."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE messages ADD COLUMN resent_from UUID")
    op.execute("CREATE INDEX ix_messages_recipient ON messages (project_id, recipient, id)")
    op.execute("CREATE INDEX ix_messages_key ON messages (project_id, key_id, id)")
    op.execute(
        "CREATE INDEX ix_messages_template ON messages (project_id, template_id, id) WHERE"
        " template_id IS NOT NULL"
    )


def downgrade() -> None:
    op.execute("DROP INDEX ix_messages_template")
    op.execute("DROP INDEX ix_messages_key")
    op.execute("DROP INDEX ix_messages_recipient")
    op.execute("ALTER TABLE messages DROP COLUMN resent_from")
