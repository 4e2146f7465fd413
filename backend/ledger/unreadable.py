"""Messages that nothing can be done with, because of what their rows hold: ended one by one, with
the reason.

So one of them keeps no other waiting, and isn't tried first again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import structlog
from psycopg.rows import class_row

from backend import ids
from backend.ledger.ending import Ending, Queued, drop_from_queue, end_messages
from backend.models.send_queue import DUE, IN_FLIGHT, WATCHED
from backend.models.session import RawPool
from backend.outages import is_about_the_item, is_outage
from backend.status import Status

log = structlog.get_logger()

# What is shown of such a message.
CODE: Final = "MESSAGE_UNREADABLE"
# What fails and is not the message's fault is looked at again after this long.
_PUT_OFF_S: Final = 60.0

_LOCK: Final = """
SELECT message_id, project_id FROM send_queue WHERE message_id = %s AND state = ANY(%s)
    FOR UPDATE SKIP LOCKED
"""
_PUT_OFF: Final = f"""
UPDATE send_queue SET due_at = now() + make_interval(secs => %s) WHERE message_id = %s
    AND state IN ({DUE}, {WATCHED})
"""


def reason_of(error: BaseException) -> str:
    """Not the error's text: Postgres quotes the row in it."""
    return f"MessageJS cannot read this message ({type(error).__name__}); send it again."


async def set_aside(pool: RawPool, message_id: UUID, error: BaseException) -> None:
    """End a message that was not sent and that `error` is about, or put off what may work later.

    Raises what an outage raises, and nothing else.
    """
    _log(message_id, error)
    if is_about_the_item(error):
        await _end(pool, message_id, (DUE, WATCHED), Status.FAILED, reason_of(error))
    else:
        async with pool.connection() as connection:
            await connection.execute(_PUT_OFF, (_PUT_OFF_S, message_id))


async def end_unrecorded(
    pool: RawPool, message_id: UUID, error: BaseException, *, may_be_sent: bool
) -> None:
    """End a message whose outcome cannot be stored. What is not its own fault ends with its lease.

    Raises what an outage raises, and nothing else.
    """
    _log(message_id, error)
    if is_about_the_item(error):
        reason = f"What became of this message could not be stored ({type(error).__name__})."
        status = Status.UNCERTAIN if may_be_sent else Status.FAILED
        await _end(pool, message_id, (IN_FLIGHT, WATCHED), status, reason)


async def _end(
    pool: RawPool, message_id: UUID, states: Sequence[int], status: Status, reason: str
) -> None:
    try:
        async with pool.connection() as connection, connection.transaction():
            cursor = connection.cursor(row_factory=class_row(Queued))
            await cursor.execute(_LOCK, (message_id, list(states)))
            await end_messages(connection, await cursor.fetchall(), Ending(status, CODE, reason))
    except Exception as exc:
        if is_outage(exc):
            raise
        log.exception("message.not_ended", message_id=ids.encode(ids.MESSAGE, message_id))
        if not is_about_the_item(exc):
            return
        # Its row cannot even be changed.
        async with pool.connection() as connection:
            await drop_from_queue(connection, message_id)


def _log(message_id: UUID, error: BaseException) -> None:
    name, sqlstate = ids.encode(ids.MESSAGE, message_id), getattr(error, "sqlstate", None)
    log.error("message.set_aside", message_id=name, error=type(error).__name__, sqlstate=sqlstate)
