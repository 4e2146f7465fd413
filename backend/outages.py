"""Servers that are away: which errors say so, and how often the log does.

Three answers to an error while many items are worked on. A server is away (`is_outage`): all of
them wait, and nothing is wrong with any. It is about the item (`is_about_the_item`): only that one
is stopped, for good. Neither (a missing table, a bug): only that one is put off.
"""

from __future__ import annotations

import time
from typing import Final

import psycopg
import redis
import sqlalchemy.exc
import structlog

log = structlog.get_logger()

# Not errors of operation by their class in psycopg: sessions ended for idling, and a server that
# only reads.
_AWAY_STATES: Final = ("25",)
# The other way round: a row that is too large for an index, or nested too deep, will be so the next
# time.
_LIMITS: Final = "54"
_EVERY_S: Final = 10.0


def is_outage(error: BaseException) -> bool:
    """Whether Postgres or Redis is away, or will not serve anybody now; the same thing may work
    later.
    """
    cause = _cause(error)
    if isinstance(cause, psycopg.Error):
        if isinstance(cause, psycopg.errors.PipelineAborted):
            return False  # something before it in the pipeline was refused
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            return not (cause.sqlstate or "").startswith(_LIMITS)
        return (cause.sqlstate or "").startswith(_AWAY_STATES)
    if isinstance(cause, redis.RedisError):
        return not isinstance(cause, redis.DataError)
    return isinstance(cause, sqlalchemy.exc.TimeoutError | OSError)


def is_about_the_item(error: BaseException) -> bool:
    """Whether what was worked on is at fault: a value that cannot be read, stored or computed
    with.
    """
    cause = _cause(error)
    if isinstance(cause, psycopg.Error):
        is_too_large = (cause.sqlstate or "").startswith(_LIMITS)
        return is_too_large or isinstance(cause, psycopg.DataError | psycopg.IntegrityError)
    return not is_outage(cause)


class OutageLog:
    """Warns when an outage is met first, then every ten seconds, with the number of times in
    between.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self._warned_at = -_EVERY_S
        self._unsaid = 0

    def warn(self, error: BaseException, **fields: object) -> None:
        now = time.monotonic()
        if now - self._warned_at < _EVERY_S:
            self._unsaid += 1
            return
        more = {"times_since": self._unsaid} if self._unsaid else {}
        log.warning(self._event, error=type(error).__name__, **fields, **more)
        self._warned_at, self._unsaid = now, 0


def _cause(error: BaseException) -> BaseException:
    """Return what the driver raised, where SQLAlchemy has wrapped it."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        return error.orig
    return error
