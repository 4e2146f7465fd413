"""What a client is told about an exception that isn't ours: its kind, and nothing from inside.

For the API's last handler, and wherever one of many may fail without the others: a message of a
batch, a row of a table.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

import orjson
import psycopg
import redis
import sqlalchemy.exc
import structlog

from backend.errors import AppError, BadRequest, DatabaseError, ServerError, ServiceUnavailable
from backend.outages import is_outage

log = structlog.get_logger()

# The API refuses by name what cannot be stored; what it lets through is still the request's fault.
_UNSTORABLE: Final = (
    sqlalchemy.exc.DataError,
    psycopg.DataError,
    orjson.JSONEncodeError,
    UnicodeEncodeError,
)


def as_app_error(exc: Exception) -> AppError:
    """Return the client's view of any exception; what is not ours is logged."""
    if isinstance(exc, AppError):
        return exc
    if is_outage(exc) and not _is_about_a_file(exc):
        server = "Redis" if isinstance(exc, redis.RedisError) else "The database"
        log.warning("server.away", server=server, error=type(exc).__name__)
        return ServiceUnavailable(
            f"{server} does not answer; nothing was changed. Try again shortly.",
            headers={"Retry-After": "2"},
        )
    if isinstance(exc, _UNSTORABLE):
        # Not the error's text: Postgres quotes the value in it.
        log.error("request.unstorable", error=type(exc).__name__, place=_place(exc))
        return BadRequest(
            "The request has a value that cannot be stored; send large numbers as strings."
        )
    if isinstance(exc, sqlalchemy.exc.SQLAlchemyError | psycopg.Error):
        log.error("database.error", error=type(exc).__name__, exc_info=exc)
        return DatabaseError("The database refused the operation; nothing was changed.")
    log.error("unexpected", error=type(exc).__name__, exc_info=exc)
    return ServerError(
        "Something went wrong on our side; it has been logged under this request id."
    )


def _is_about_a_file(exc: Exception) -> bool:
    return isinstance(exc, OSError) and not isinstance(exc, ConnectionError | TimeoutError)


def _place(exc: Exception) -> str:
    """Return where in our code it was raised: module.py:42."""
    frames = [
        frame for frame in traceback.extract_tb(exc.__traceback__) if "backend" in frame.filename
    ]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
