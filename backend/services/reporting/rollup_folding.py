"""Fold the deltas of message counters in the background, or count all messages again.

A fold moves deltas into counters in one transaction, so that a reader sees each message once.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
import structlog

from backend.models.message_rollup import (
    FAILURE,
    HALF_PAST,
    QUARTER_PAST,
    STATUS,
    TO_DELIVERY,
    TO_PROVIDER,
)
from backend.models.session import RawPool
from backend.outages import is_outage
from backend.process.advisory_locks import AdvisoryLock, hold, try_lock
from backend.process.rounds import Rounds, log_failures

log = structlog.get_logger()

_EVERY_S: Final = 2.0
_BATCH: Final = 20_000
# Deltas come and go; the dead rows they leave would slow down reads long before autovacuum comes.
_VACUUM_AFTER: Final = 50_000

_COLUMNS: Final = (
    "project_id, measure, grain, slot, connector_id, mode, value, connector_type, messages, last_at"
)
# Times are not counted by the quarter hour: their many bins would take more room than the messages.
# Hours that begin past the full hour are only for series, which count statuses.
_SUMMED: Final = f"""
SELECT d.project_id, d.measure, g.grain,
    date_bin(make_interval(mins => g.minutes), d.slot, '2000-01-01+00'::timestamptz +
        make_interval(mins => g.past))
        AS slot,
    d.connector_id, d.mode, d.value, min(d.connector_type) AS connector_type,
        sum(d.messages) AS messages,
    max(d.last_at) AS last_at
FROM {{deltas}} d
JOIN (VALUES (15, 15, 0), (60, 60, 0), (1440, 1440, 0), ({QUARTER_PAST}, 60, 15), ({HALF_PAST}, 60,
    30))
    AS g (grain, minutes, past)
    ON CASE g.grain WHEN 15 THEN d.measure NOT IN ('{TO_PROVIDER}', '{TO_DELIVERY}')
        WHEN {HALF_PAST} THEN d.measure = '{STATUS}' WHEN {QUARTER_PAST} THEN d.measure = '{STATUS}'
            ELSE true END
GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(d.messages) <> 0
"""  # noqa: S608 (made of constants)
_MERGING: Final = f"""
WITH taken AS (
    DELETE FROM rollup_deltas WHERE ctid = ANY(ARRAY(SELECT ctid
        FROM rollup_deltas {{of}}LIMIT %(most)s)) RETURNING *
)
MERGE INTO message_rollups r USING ({_SUMMED.format(deltas="taken")}) s
ON r.project_id = s.project_id AND r.measure = s.measure AND r.grain = s.grain AND r.slot = s.slot
    AND r.connector_id = s.connector_id AND r.mode = s.mode AND r.value = s.value
WHEN MATCHED AND r.messages + s.messages = 0 THEN DELETE
WHEN MATCHED THEN UPDATE SET messages = r.messages + s.messages,
    last_at = greatest(r.last_at, s.last_at)
WHEN NOT MATCHED THEN INSERT ({_COLUMNS})
VALUES (s.project_id, s.measure, s.grain, s.slot, s.connector_id, s.mode, s.value, s.connector_type,
    s.messages,
    s.last_at)
"""  # noqa: S608 (made of constants)
_MERGE: Final = _MERGING.format(of="")
_MERGE_OF_PROJECT: Final = _MERGING.format(of="WHERE project_id = %(project_id)s ")
_WAITING: Final = "SELECT count(*) FROM (SELECT FROM rollup_deltas LIMIT %s) waiting"
_PROJECTS: Final = "SELECT DISTINCT project_id FROM rollup_deltas"

# As the triggers count (migration 0005), but every message as it is now.
_BIN: Final = (
    "floor(11.541560327111707 * ln(greatest(1.0::float8, "
    "1000 * extract(epoch FROM {end} - greatest(created_at, send_at))::float8)))::int::text"
)
_COUNT_ALL: Final = f"""
INSERT INTO message_rollups ({_COLUMNS})
WITH counted AS MATERIALIZED (
    SELECT project_id, date_bin('15 minutes', created_at, '2000-01-01+00') AS slot, connector_id,
        connector_type, mode,
        f.measure, f.value, count(*) AS messages, max(f.last_at) AS last_at
    FROM messages CROSS JOIN LATERAL (
        SELECT '{STATUS}', status, NULL::timestamptz
        UNION ALL SELECT '{FAILURE}', coalesce(error_code, ''), NULL
            WHERE status IN ('failed', 'undelivered', 'expired')
        UNION ALL SELECT '{TO_PROVIDER}', {_BIN.format(end="sent_at")}, sent_at
            WHERE sent_at IS NOT NULL
        UNION ALL SELECT '{TO_DELIVERY}', {_BIN.format(end="delivered_at")}, NULL
            WHERE delivered_at IS NOT NULL
    ) f (measure, value, last_at)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
)
{_SUMMED.format(deltas="counted")}
"""  # noqa: S608 (made of constants)


class RollupFolder:
    """Moves deltas into counters, in the worker that holds the lock.

    A crash leaves them as they were.
    """

    def __init__(self, pool: RawPool) -> None:
        self._pool = pool
        self._folded_since_vacuum = 0

    async def run(self) -> None:
        """Fold every two seconds until canceled. A failed round is logged, and the next one tries
        again.
        """
        report = log_failures(away="rollups.database_away", failed="rollups.fold_failed")
        await Rounds(_EVERY_S, self._round, on_error=report).run()

    async def _round(self) -> None:
        await self.fold()

    async def fold(self) -> int:
        """Fold all deltas; return how many, 0 when another worker is folding."""
        folded = 0
        async with self._pool.connection() as connection:
            while (batch := await self._fold_batch(connection)) == _BATCH:
                folded += batch
            folded += batch
            self._folded_since_vacuum += folded
            if self._folded_since_vacuum >= _VACUUM_AFTER:
                self._folded_since_vacuum = 0
                # Without TRUNCATE it never blocks a writer.
                await connection.execute("VACUUM (TRUNCATE false, SKIP_LOCKED) rollup_deltas")
        return folded

    async def _fold_batch(self, connection: psycopg.AsyncConnection[Any]) -> int:
        async with connection.transaction():
            if not await try_lock(connection, AdvisoryLock.ROLLUPS):
                return 0
            cursor = await connection.execute(_WAITING, (_BATCH,))
            row = await cursor.fetchone()
            waiting: int = row[0] if row is not None else 0
            if waiting:
                return waiting if await self._merge(connection) else 0
            return 0

    async def _merge(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Fold all together. If that fails, fold project by project, so that only the project with
        the bad deltas waits.

        Returns whether all deltas that were seen are folded.
        """
        try:
            async with connection.transaction():
                await connection.execute(_MERGE, {"most": _BATCH})
        except psycopg.Error as exc:
            if is_outage(exc):
                raise
            log.error("rollups.batch_refused", sqlstate=exc.sqlstate)  # noqa: TRY400
        else:
            return True
        for (project_id,) in await (await connection.execute(_PROJECTS)).fetchall():
            try:
                async with connection.transaction():
                    await connection.execute(
                        _MERGE_OF_PROJECT, {"most": _BATCH, "project_id": project_id}
                    )
            except psycopg.Error as exc:
                if is_outage(exc):
                    raise
                log.error(  # noqa: TRY400
                    "rollups.project_refused", project_id=str(project_id), sqlstate=exc.sqlstate
                )
        return False


async def rebuild_rollups(pool: RawPool) -> None:
    """Count all messages again, while they go on changing: after a repair, or after rows were
    written with triggers disabled.

    What was counted of messages that retention has removed since is lost.
    """
    async with (
        pool.connection() as connection,
        # Before the snapshot is taken: a fold in between would move deltas that it still sees.
        hold(connection, AdvisoryLock.ROLLUPS),
        connection.transaction(),
    ):
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await connection.execute("SET LOCAL work_mem = '128MB'")
        await connection.execute("DELETE FROM rollup_deltas")
        await connection.execute("DELETE FROM message_rollups")
        await connection.execute(_COUNT_ALL)
    log.info("rollups.rebuilt")
