"""The analytics' rollups: counters, their deltas, and the triggers on messages that write these."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = (
    """
CREATE TABLE message_rollups (
    project_id UUID NOT NULL,
    measure VARCHAR(20) NOT NULL,
    grain SMALLINT NOT NULL,
    slot TIMESTAMP WITH TIME ZONE NOT NULL,
    connector_id UUID NOT NULL,
    mode VARCHAR(10) NOT NULL,
    value VARCHAR NOT NULL,
    connector_type VARCHAR(50) NOT NULL,
    messages BIGINT NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (project_id, measure, grain, slot, connector_id, mode, value)
)
""",
    """
CREATE TABLE rollup_deltas (
    project_id UUID NOT NULL,
    slot TIMESTAMP WITH TIME ZONE NOT NULL,
    connector_id UUID NOT NULL,
    connector_type VARCHAR(50) NOT NULL,
    mode VARCHAR(10) NOT NULL,
    measure VARCHAR(20) NOT NULL,
    value VARCHAR NOT NULL,
    messages INTEGER NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE
)
""",
)

# Times are counted from when a message was due, in bins that grow by 2^(1/8): 11.54... is 8 /
# ln(2).
_BIN = (
    "floor(11.541560327111707 * ln(greatest(1.0::float8, "
    "1000 * extract(epoch FROM {end} - greatest(created_at, send_at))::float8)))::int::text"
)

_SLOT = "date_bin('15 minutes', created_at, '2000-01-01+00')"

# Most changes are of statuses only: these are grouped without looking at the other measures.
_COUNT = f"""
INSERT INTO rollup_deltas (project_id, slot, connector_id, connector_type, mode, measure, value,
    messages, last_at)
SELECT project_id, {_SLOT}, connector_id, min(connector_type), mode, 'status', status, sum(n), NULL
FROM ({{rows}}) m GROUP BY 1, 2, 3, 5, 7 HAVING sum(n) <> 0
UNION ALL
SELECT project_id, {_SLOT}, connector_id, min(connector_type), mode, f.measure, f.value, sum(n),
    max(f.last_at)
FROM ({{rows}}) m CROSS JOIN LATERAL (
    SELECT 'failure', coalesce(error_code, ''), NULL::timestamptz
        WHERE status IN ('failed', 'undelivered', 'expired')
    UNION ALL SELECT 'provider', {_BIN.format(end="sent_at")}, sent_at WHERE sent_at IS NOT NULL
    UNION ALL SELECT 'delivery', {_BIN.format(end="delivered_at")}, NULL
        WHERE delivered_at IS NOT NULL
) f (measure, value, last_at)
WHERE sent_at IS NOT NULL OR delivered_at IS NOT NULL
    OR status IN ('failed', 'undelivered', 'expired')
GROUP BY 1, 2, 3, 5, 6, 7 HAVING sum(n) <> 0
"""  # noqa: S608 (made of constants)

_COLUMNS = (
    "project_id, connector_id, connector_type, mode, status, error_code, created_at, send_at,"
    " sent_at, delivered_at"
)


def _rows(source: str, n: int) -> str:
    return f"SELECT {_COLUMNS}, {n} AS n FROM {source}"  # noqa: S608 (made of constants)


def _function(name: str, rows: str) -> str:
    count = _COUNT.format(rows=rows)
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {count}; RETURN"
        " NULL; END $$"
    )


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)
    op.execute(_function("count_new_messages", _rows("added", 1)))
    op.execute(
        _function("count_changed_messages", f"{_rows('added', 1)} UNION ALL {_rows('removed', -1)}")
    )
    # Creating a trigger keeps writers out until the commit, so what is there now is counted once.
    op.execute(
        "CREATE TRIGGER count_new_messages AFTER INSERT ON messages REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION count_new_messages()"
    )
    op.execute(
        "CREATE TRIGGER count_changed_messages AFTER UPDATE ON messages "
        "REFERENCING NEW TABLE AS added OLD TABLE AS removed "
        "FOR EACH STATEMENT EXECUTE FUNCTION count_changed_messages()"
    )
    op.execute(_COUNT.format(rows=_rows("messages", 1)))


def downgrade() -> None:
    op.execute("DROP TRIGGER count_changed_messages ON messages")
    op.execute("DROP TRIGGER count_new_messages ON messages")
    op.execute("DROP FUNCTION count_changed_messages")
    op.execute("DROP FUNCTION count_new_messages")
    op.execute("DROP TABLE rollup_deltas")
    op.execute("DROP TABLE message_rollups")
