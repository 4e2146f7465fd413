"""Servers that are down: which errors say so, and how often the log does.

An error while working on many items is answered in one of three ways. A server is down
(`is_outage`): all items wait, and nothing is wrong with any. It is about the item
(`is_about_the_item`): only that item is stopped, for good. Neither (a missing table, a bug): only
that item is postponed.
"""

from __future__ import annotations

import time
from typing import Final

import psycopg
import redis
import sqlalchemy.exc
import structlog

log = structlog.get_logger()

# psycopg doesn't class these as operational errors: sessions ended for being idle, and a read-only
# server.
_DOWN_STATES: Final = ("25",)
# The opposite: a row that is too large for an index, or nested too deeply, will fail again.
_LIMITS: Final = "54"
_EVERY_S: Final = 10.0


def is_outage(error: BaseException) -> bool:
    """Whether Postgres or Redis is down or serves no one now; the same thing may work later."""
    cause = _cause(error)
    if isinstance(cause, psycopg.Error):
        if isinstance(cause, psycopg.errors.PipelineAborted):
            return False  # something before it in the pipeline was refused
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            return not (cause.sqlstate or "").startswith(_LIMITS)
        return (cause.sqlstate or "").startswith(_DOWN_STATES)
    if isinstance(cause, redis.RedisError):
        return not isinstance(cause, redis.DataError)
    return isinstance(cause, sqlalchemy.exc.TimeoutError | OSError)


def is_about_the_item(error: BaseException) -> bool:
    """Whether the item is at fault: one of its values cannot be read, stored or computed with."""
    cause = _cause(error)
    if isinstance(cause, psycopg.Error):
        is_too_large = (cause.sqlstate or "").startswith(_LIMITS)
        return is_too_large or isinstance(cause, psycopg.DataError | psycopg.IntegrityError)
    return not is_outage(cause)


class OutageLog:
    """Warns of an outage at once, then every ten seconds with the number of errors in between."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._warned_at = -_EVERY_S
        self._suppressed = 0

    def warn(self, error: BaseException, **fields: object) -> None:
        now = time.monotonic()
        if now - self._warned_at < _EVERY_S:
            self._suppressed += 1
            return
        more = {"times_since": self._suppressed} if self._suppressed else {}
        log.warning(self._event, error=type(error).__name__, **fields, **more)
        self._warned_at, self._suppressed = now, 0


def _cause(error: BaseException) -> BaseException:
    """Return the driver's error, where SQLAlchemy has wrapped it."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        return error.orig
    return error
