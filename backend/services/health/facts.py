"""What a database says about the health of the installation.

Each check asks one thing, by an index, and says what to do. `/readyz` and `messagejs doctor` share
the checks. A detail of `/readyz` is public, so it names no host and no secret.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from backend.models.connector import UNUSABLE
from backend.models.partitions import PARTITIONED, month_start, months_made
from backend.models.send_queue import CLAIMED, DUE, IN_FLIGHT
from backend.services.health.fingerprints import Fingerprints, unreadable_connectors, wrong_secrets
from backend.services.health.heartbeat import ALIVE_S
from backend.services.health.schema_fit import read_schema_fit

_CLOCK_WARNING_S: Final = 5.0
# Ids, tokens and leases rely on this clock; if it is minutes off, they are wrong.
_CLOCK_FAILED_S: Final = 180.0
_MONTHS_WARNING: Final = 2
_DUE_WARNING_S: Final = 60.0

# Walks the index from one (lane, connector) to the next; the first row of each is due first.
# Connectors that cannot be used are expected to wait. A lease that ran out long ago means that
# nobody sweeps.
_OLDEST_DUE: Final = f"""
WITH RECURSIVE turns AS (
    (SELECT lane, connector_id, due_at FROM send_queue WHERE state = {DUE}
    ORDER BY lane, connector_id, due_at LIMIT 1)
    UNION ALL
    SELECT n.lane, n.connector_id, n.due_at FROM turns t CROSS JOIN LATERAL (
        SELECT lane, connector_id, due_at FROM send_queue
        WHERE state = {DUE} AND (lane, connector_id) > (t.lane, t.connector_id)
        ORDER BY lane, connector_id, due_at LIMIT 1
    ) n
), looked_at AS (SELECT connector_id, due_at FROM turns LIMIT 500)
SELECT extract(epoch FROM now() - least(
    (SELECT min(due_at) FROM looked_at l WHERE NOT EXISTS (
        SELECT FROM connectors c WHERE c.id = l.connector_id AND (c.deleted_at IS NOT NULL
            OR {UNUSABLE}))),
    (SELECT min(lease_until) FROM send_queue WHERE state IN ({CLAIMED}, {IN_FLIGHT}))
))::float8
"""  # noqa: S608 (made of constants)

_PROCESSES: Final = f"""
SELECT role, failing, jwt_fingerprint FROM processes
    WHERE beat_at > now() - interval '{ALIVE_S} seconds'
ORDER BY started_at
"""  # noqa: S608 (made of constants)
_LAST_WORKER: Final = """
SELECT extract(epoch FROM now() - max(beat_at))::float8 FROM processes WHERE role = 'worker'
"""


@dataclass(frozen=True, slots=True)
class _Process:
    """A process that beat lately. `failing`: background tasks that fail, {name, error}."""

    role: str
    failing: list[dict[str, str]]
    jwt_fingerprint: str | None


@dataclass(frozen=True, slots=True)
class Check:
    status: Literal["ok", "warning", "failed"]
    detail: str


FactCheck = Callable[[psycopg.AsyncConnection[Any]], Awaitable[Check]]


async def check_write(writing: Awaitable[None]) -> Check:
    """Say why Postgres takes no write, if that has a remedy; raise any other error."""
    try:
        await writing
    except psycopg.errors.ReadOnlySqlTransaction:
        return Check("failed", "Postgres is read-only; point DATABASE_URL at the primary.")
    except psycopg.errors.DiskFull:
        return Check("failed", "Postgres has no room left; free some on its disk.")
    except psycopg.errors.InsufficientPrivilege:
        return Check(
            "failed",
            "Postgres does not let this user write; grant it what 'messagejs migrate' made.",
        )
    return Check("ok", "Postgres takes writes.")


async def _migrations(connection: psycopg.AsyncConnection[Any]) -> Check:
    fit = await read_schema_fit(connection)
    return Check("ok" if fit.is_usable else "failed", fit.detail)


async def check_secrets(
    connection: psycopg.AsyncConnection[Any], fingerprints: Fingerprints
) -> Check:
    """Compare this process's secrets with the database's, and with those of other processes."""
    if wrong := await wrong_secrets(connection, fingerprints):
        return Check("failed", " ".join(wrong))
    if unreadable := await unreadable_connectors(connection, fingerprints):
        return Check("warning", unreadable)
    web = [each.jwt_fingerprint for each in await _processes(connection) if each.role == "web"]
    others = set(web) - {None, fingerprints.jwt_secret}
    if fingerprints.jwt_secret is not None and others:
        return Check(
            "warning",
            "Web processes run with different JWT_SECRETs, so log-ins at one are refused at"
            " another; give them the same.",
        )
    return Check("ok", "The secrets are those that the database was written with.")


async def _clock(connection: psycopg.AsyncConnection[Any]) -> Check:
    asked_at = time.time()
    row = await (
        await connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    ).fetchone()
    return clock_check(
        there=row[0] if row else asked_at, asked_at=asked_at, answered_at=time.time()
    )


def clock_check(*, there: float, asked_at: float, answered_at: float) -> Check:
    """Compare the database's clock with this machine's.

    What happens between the question and the answer is not counted as a difference.
    """
    off_s = there - min(max(there, asked_at), answered_at)
    if abs(off_s) <= _CLOCK_WARNING_S:
        return Check("ok", "The clock agrees with the database's.")
    way = "behind" if off_s > 0 else "ahead of"
    detail = f"This machine's clock is {abs(off_s):.0f} s {way} the database's; set both by NTP."
    return Check("failed" if abs(off_s) > _CLOCK_FAILED_S else "warning", detail)


async def _partitions(connection: psycopg.AsyncConnection[Any]) -> Check:
    """Rows in a DEFAULT partition are safe; a worker moves them to their month within a minute."""
    filled, ahead = [], []
    for table in PARTITIONED:
        query = sql.SQL("SELECT EXISTS (SELECT 1 FROM {})").format(
            sql.Identifier(f"{table}_default")
        )
        row = await (await connection.execute(query)).fetchone()
        if row is not None and row[0]:
            filled.append(table)
        ahead.append(_months_ahead(await months_made(connection, table)))
    if min(ahead) < _MONTHS_WARNING:
        return Check(
            "warning",
            f"Partitions are made for {max(0, min(ahead))} months ahead, of 3; a worker makes them,"
            " so see that one runs, and its log for 'maintenance'.",
        )
    if filled:
        return Check(
            "warning",
            f"Rows in the default partition of {', '.join(filled)}; a worker moves them to their"
            " month within a minute. If they stay, see its log for 'maintenance'.",
        )
    return Check(
        "ok", f"Partitions are made for {min(ahead)} months ahead; the default ones are empty."
    )


def _months_ahead(months: set[str]) -> int:
    """Return how many of the coming months exist without a gap; -1 if this month is missing."""
    now = datetime.now(UTC)
    ahead = -1
    while f"{month_start(now, ahead + 1):%Y%m}" in months:
        ahead += 1
    return ahead


async def _queue(connection: psycopg.AsyncConnection[Any]) -> Check:
    row = await (await connection.execute(_OLDEST_DUE)).fetchone()
    age_s = row[0] if row is not None and row[0] is not None else 0.0
    if age_s > _DUE_WARNING_S:
        return Check(
            "warning",
            f"The oldest message that is due has waited for {age_s:.0f} s; see that workers run and"
            " keep up.",
        )
    return Check("ok", "No due message waits.")


async def _workers(connection: psycopg.AsyncConnection[Any]) -> Check:
    roles = [process.role for process in await _processes(connection)]
    counted = f"{roles.count('web')} web and {roles.count('worker')} worker processes run"
    if "worker" in roles:
        return Check("ok", f"{counted}.")
    row = await (await connection.execute(_LAST_WORKER)).fetchone()
    last = ""
    if row is not None and row[0] is not None:
        last = f"; the last one was heard {row[0]:.0f} s ago"
    return Check(
        "warning", f"{counted}{last}. Messages are accepted and wait: start 'messagejs worker'."
    )


async def _background(connection: psycopg.AsyncConnection[Any]) -> Check:
    failing = sorted(
        {
            f"{process.role}: {task['name']} ({task['error']})"
            for process in await _processes(connection)
            for task in process.failing
        }
    )
    if failing:
        return Check(
            "warning",
            f"Background tasks fail and are started again: {', '.join(failing)}; see the log.",
        )
    return Check("ok", "All background tasks run.")


async def _processes(connection: psycopg.AsyncConnection[Any]) -> list[_Process]:
    cursor = connection.cursor(row_factory=class_row(_Process))
    await cursor.execute(_PROCESSES)
    return await cursor.fetchall()


# With the secrets, the first group decides whether sends are accepted; the second only warns.
DECIDING: Final[dict[str, FactCheck]] = {"migrations": _migrations, "clock": _clock}
WARNING: Final[dict[str, FactCheck]] = {
    "partitions": _partitions,
    "workers": _workers,
    "queue": _queue,
    "background": _background,
}
