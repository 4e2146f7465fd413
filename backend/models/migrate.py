"""Brings a database to the schema of this version.

Safe to run from many processes at once, and beside sends.

A migration waits at most two seconds for a lock, because everything that comes after it waits too;
then it lets them pass and tries again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.models.session import sqlalchemy_url
from backend.process.advisory_locks import AdvisoryLock, try_lock_session, unlock_session

_LOCK_TIMEOUT: Final = "2s"
_PATIENCE_S: Final = 300.0
_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 10.0

# Who has held its locks the longest: the one to wait for, or to end.
_OLDEST_HOLDER: Final = """
SELECT a.pid, coalesce(nullif(a.application_name, ''), 'unnamed'), extract(epoch
    FROM now() - a.xact_start)::int
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
    AND a.xact_start < now() - interval '1 second'
    AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'relation'
        AND l.granted)
ORDER BY a.xact_start LIMIT 1
"""


class MigrationBlocked(Exception):
    """Another connection kept the locks for longer than the patience; nothing is half done."""


class SchemaTooNew(Exception):
    """A newer version migrated this database, to a schema that this code cannot run on."""

    def __init__(self, revision: str, oldest_code: str | None) -> None:
        super().__init__(
            f"The schema '{revision}' needs code of '{oldest_code or revision}' or newer."
        )
        self.revision = revision
        self.oldest_code = oldest_code


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head_revision() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def oldest_code(script: ScriptDirectory, heads: Iterable[str]) -> str | None:
    """Return the oldest revision of code that runs on the schema at `heads`: what the strictest
    migration says.
    """
    revisions = [revision for head in heads for revision in script.iterate_revisions(head, "base")]
    stated = [getattr(revision.module, "oldest_code", None) for revision in revisions]
    return max((oldest for oldest in stated if oldest is not None), default=None)


def upgrade(
    database_url: str,
    *,
    patience_s: float = _PATIENCE_S,
    on_wait: Callable[[str], None] = lambda _: None,
) -> bool:
    """Run what is missing, one process at a time.

    False: a newer version, compatible with this one, has been here.

    `on_wait` is told what is waited for. Raises MigrationBlocked after `patience_s`, and
    SchemaTooNew.
    """
    engine = create_engine(sqlalchemy_url(database_url), connect_args={"connect_timeout": 10})
    deadline = time.monotonic() + patience_s
    try:
        with engine.connect() as connection:
            _take_turn(connection, deadline, on_wait)
            try:
                if _is_newer(connection):
                    return False
                _run(connection, deadline, on_wait)
            finally:
                connection.rollback()
                unlock_session(connection, AdvisoryLock.MIGRATION)
                connection.commit()
    finally:
        engine.dispose()
    return True


def _take_turn(connection: Connection, deadline: float, on_wait: Callable[[str], None]) -> None:
    attempts = 0
    while not try_lock_session(connection, AdvisoryLock.MIGRATION):
        connection.commit()
        if time.monotonic() > deadline:
            raise MigrationBlocked(
                "Another 'messagejs migrate' is still running on this database; wait for its end."
            )
        if attempts == 0:
            on_wait("another 'messagejs migrate' is running; waiting for its end")
        attempts += 1
        time.sleep(0.1)
    connection.commit()


def _is_newer(connection: Connection) -> bool:
    """Tell whether a newer version migrated this database; raises SchemaTooNew when this code
    cannot run on it.
    """
    script = ScriptDirectory.from_config(_config())
    current = _revision(connection)
    known = {revision.revision for revision in script.walk_revisions()}
    if current is None or current in known:
        return False
    head = script.get_current_head() or ""
    oldest: str | None = None
    if connection.execute(text("SELECT to_regclass('schema_compat') IS NOT NULL")).scalar_one():
        oldest = connection.execute(text("SELECT max(oldest_code) FROM schema_compat")).scalar()
    if oldest is None or head < oldest:
        raise SchemaTooNew(current, oldest)
    return True


def _run(connection: Connection, deadline: float, on_wait: Callable[[str], None]) -> None:
    """Upgrade to head, again and again while somebody else holds a lock; each migration is kept
    once it is done.
    """
    config = _config()
    config.attributes["connection"] = connection
    connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
    connection.commit()
    pause_s = _PAUSE_S
    while True:
        try:
            command.upgrade(config, "head")
            connection.commit()
        except OperationalError as exc:
            if not isinstance(exc.orig, LockNotAvailable):
                raise
            connection.rollback()
            holder = _holder(connection)
            if time.monotonic() + pause_s > deadline:
                raise MigrationBlocked(
                    f"A table of the migration stays locked{holder}; end that connection or wait"
                    " for it, and run 'messagejs migrate' again. Nothing is half done."
                ) from exc
            on_wait(
                f"a table is locked{holder}; letting others pass, then trying again in"
                f" {pause_s:g} s"
            )
            time.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)
        else:
            return


def _holder(connection: Connection) -> str:
    row: Any = connection.execute(text(_OLDEST_HOLDER)).first()
    connection.commit()
    if row is None:
        return ""
    return f" by connection {row[0]} ({row[1]}), whose transaction began {row[2]} s ago"


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def current_revision(connection: AsyncConnection) -> str | None:
    """Return the schema's revision, None for an empty database."""
    return await connection.run_sync(_revision)
