"""A paused campaign's messages are in a state of their own, with an index for those that expire."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
# The oldest revision of code that runs on this schema (docs/operations.md, "Upgrades").
oldest_code = "0014"

# The queue holds only what waits, so that these are quick. Older code asks for `state = 0`, which
# the wider index answers too. What older code has paused stays as it is until it is resumed.
_UPGRADE = """
DROP INDEX ix_send_queue_expires;
CREATE INDEX ix_send_queue_expires ON send_queue (expires_at)
    WHERE state IN (0, 4) AND expires_at IS NOT NULL;
CREATE INDEX ix_send_queue_held ON send_queue (project_id, message_id) WHERE state = 4;
"""
_DOWNGRADE = """
DROP INDEX ix_send_queue_held;
UPDATE send_queue SET state = 0, due_at = due_at + interval '100 years' WHERE state = 4;
DROP INDEX ix_send_queue_expires;
CREATE INDEX ix_send_queue_expires ON send_queue (expires_at)
    WHERE state = 0 AND expires_at IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(_UPGRADE)


def downgrade() -> None:
    op.execute(_DOWNGRADE)
