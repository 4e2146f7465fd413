"""What the queue knows of a message's further ways and of its end, so that nobody has to look for
it.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Partial, so that the usual message (one way, no end) is in none of them.
_UPGRADE = """
ALTER TABLE send_queue ADD COLUMN has_next BOOLEAN DEFAULT false NOT NULL;
ALTER TABLE send_queue ADD COLUMN expires_at TIMESTAMP WITH TIME ZONE;
DROP INDEX ix_send_queue_lease;
CREATE INDEX ix_send_queue_lease ON send_queue (lease_until) WHERE state IN (1, 2);
CREATE INDEX ix_send_queue_watched ON send_queue (due_at) WHERE state = 3;
CREATE INDEX ix_send_queue_routed ON send_queue (connector_id, due_at) WHERE state = 0 AND has_next;
CREATE INDEX ix_send_queue_expires ON send_queue (expires_at) WHERE state = 0
    AND expires_at IS NOT NULL;
UPDATE send_queue q SET expires_at = m.expires_at, has_next = m.route IS NOT NULL
FROM messages m WHERE m.id = q.message_id AND (m.expires_at IS NOT NULL OR m.route IS NOT NULL)
"""

_DOWNGRADE = """
DELETE FROM send_queue WHERE state = 3;
DROP INDEX ix_send_queue_expires;
DROP INDEX ix_send_queue_routed;
DROP INDEX ix_send_queue_watched;
DROP INDEX ix_send_queue_lease;
CREATE INDEX ix_send_queue_lease ON send_queue (lease_until) WHERE state <> 0;
ALTER TABLE send_queue DROP COLUMN expires_at;
ALTER TABLE send_queue DROP COLUMN has_next
"""


def upgrade() -> None:
    for statement in _UPGRADE.split(";"):
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWNGRADE.split(";"):
        op.execute(statement)
