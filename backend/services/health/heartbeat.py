"""The heartbeat: every few seconds this process writes that it runs, and which of its tasks fail.

`/readyz` and `messagejs doctor` of any process read it. Before its first beat a process checks that
its secrets are those that the database was written with.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

import orjson
import psycopg
import structlog

from backend import __version__
from backend.ids import new_id
from backend.models.session import RawPool
from backend.process.background import TaskState
from backend.process.rounds import Rounds
from backend.services.health.fingerprints import Fingerprints, settle_secrets

log = structlog.get_logger()

ProcessRole = Literal["web", "worker"]
_EVERY_S: Final = 5.0
# Three missed beats and a margin: such a process is gone, or might as well be.
ALIVE_S: Final = 20
_CLOSE_S: Final = 1.0

_BEAT: Final = """
INSERT INTO processes (id, role, host, pid, version, started_at, beat_at, failing, jwt_fingerprint)
VALUES (%(id)s, %(role)s, %(host)s, %(pid)s, %(version)s, %(started_at)s, now(), %(failing)s,
    %(jwt)s)
ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, failing = excluded.failing
"""


class Heartbeat:
    """`failing` returns the background tasks of the whole process that fail now."""

    def __init__(
        self,
        pool: RawPool,
        *,
        role: ProcessRole,
        fingerprints: Fingerprints,
        failing: Callable[[], list[TaskState]],
    ) -> None:
        self._pool = pool
        self._failing = failing
        self._is_settled = False
        self._has_ended = False
        self._row = {
            "id": new_id(),
            "role": role,
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "version": __version__,
            "started_at": datetime.now(UTC),
            "jwt": fingerprints.jwt_secret,
        }
        self.fingerprints = fingerprints

    async def run(self) -> None:
        await Rounds(_EVERY_S, self._round).run()

    async def _round(self) -> None:
        try:
            async with self._pool.connection() as connection:
                await self._settle(connection)
                await self.beat(connection)
        except psycopg.Error as exc:
            # Postgres is down, or not migrated yet: /readyz says so, and the next beat tries again.
            log.info("heartbeat.missed", error=type(exc).__name__)

    async def beat(self, connection: psycopg.AsyncConnection) -> None:
        """Write this process's row. A real write also finds a database that only answers."""
        if self._has_ended:
            return
        failing = [{"name": state.name, "error": state.error} for state in self._failing()]
        await connection.execute(_BEAT, {**self._row, "failing": orjson.dumps(failing).decode()})

    async def end(self) -> None:
        """Remove the row at a clean end; the others forget in time what cannot be removed."""
        self._has_ended = True
        try:
            async with (
                asyncio.timeout(_CLOSE_S),
                self._pool.connection(timeout=_CLOSE_S) as connection,
            ):
                await connection.execute("DELETE FROM processes WHERE id = %s", (self._row["id"],))
        except (psycopg.Error, TimeoutError) as exc:
            log.info("heartbeat.not_ended", error=type(exc).__name__)

    async def _settle(self, connection: psycopg.AsyncConnection) -> None:
        if self._is_settled:
            return
        for problem in await settle_secrets(connection, self.fingerprints):
            log.error("secrets.wrong", problem=problem)
        self._is_settled = True
