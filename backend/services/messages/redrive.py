"""Dead letters: sent once more as new messages, or discarded.

A status never goes back: the failed message stays failed, and a new one with `resentFrom` takes its
place. Whoever deletes the dead letter sends it, in the statement that writes the new message
(writer.py): two redrives send once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import AppError, MessageNotFound, NotADeadLetter
from backend.models import DeadLetter, Message
from backend.process.unexpected import as_app_error
from backend.services.messages.actions import repetition
from backend.services.messages.dead_letters import DeadLetterFilter, select_dead
from backend.services.sending.accept import Accepted, accept
from backend.status import Status

if TYPE_CHECKING:
    from backend.ledger.accept import NewMessage
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender

# Dead letters of one call.
MOST_REDRIVEN: Final = 500
MOST_DISCARDED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of the dead letter `message_id`."""

    message_id: UUID
    outcome: Accepted | AppError


@dataclass(frozen=True, slots=True)
class Redrive:
    """`next_cursor`: where to go on, None when all that match were looked at."""

    results: list[Redriven]
    next_cursor: UUID | None = None

    @property
    def redriven(self) -> int:
        return sum(isinstance(one.outcome, Accepted) for one in self.results)


async def redrive_one(path: SendPath, sender: Sender, message_id: UUID) -> Accepted:
    """Raises MessageNotFound, NotADeadLetter, and what a send raises."""
    [result] = (await redrive_many(path, sender, [message_id])).results
    if isinstance(result.outcome, AppError):
        raise result.outcome
    return result.outcome


async def redrive_many(path: SendPath, sender: Sender, message_ids: Sequence[UUID]) -> Redrive:
    """Return what became of each, in order: what cannot be sent again stays a dead letter.

    Raises the error itself when nothing was accepted because of limits or a full queue.
    """
    async with path.database.session() as session:
        found = await _find(session, sender.project_id, message_ids, mode_of(sender))
    outcomes = await asyncio.gather(*(_redrive(path, sender, found[one]) for one in message_ids))
    if outcomes and all(_is_passing(outcome) for outcome in outcomes):
        raise next(outcome for outcome in outcomes if isinstance(outcome, AppError))
    return Redrive([Redriven(*pair) for pair in zip(message_ids, outcomes, strict=True)])


async def redrive_matching(
    path: SendPath,
    sender: Sender,
    filters: DeadLetterFilter,
    *,
    after: UUID | None = None,
    limit: int,
) -> Redrive:
    """Redrive up to `limit` of those that match, the oldest first, beginning behind `after`.

    Raises as redrive_many.
    """
    async with path.database.session() as session:
        message_ids = await _matching(
            session, sender.project_id, filters, after=after, limit=limit + 1
        )
    chosen = message_ids[:limit]
    done = await redrive_many(path, sender, chosen)
    # What only had to wait is not passed over.
    looked_at = next(
        (place for place, one in enumerate(done.results) if _is_passing(one.outcome)), len(chosen)
    )
    if looked_at < len(message_ids):
        return replace(done, next_cursor=chosen[looked_at - 1] if looked_at else after)
    return done


async def discard_many(
    session: AsyncSession, *, project_id: UUID, message_ids: Sequence[UUID], mode: str | None = None
) -> int:
    """Take messages out of the list; they stay failed. Returns how many were in it."""
    wanted = delete(DeadLetter).where(
        col(DeadLetter.project_id) == project_id, col(DeadLetter.message_id).in_(message_ids)
    )
    if mode is not None:
        of_mode = select(col(Message.id)).where(
            col(Message.id).in_(message_ids), col(Message.mode) == mode
        )
        wanted = wanted.where(col(DeadLetter.message_id).in_(of_mode))
    connection = await session.connection()
    return (await connection.execute(wanted)).rowcount


async def discard_one(
    session: AsyncSession, *, project_id: UUID, message_id: UUID, mode: str | None = None
) -> None:
    """Raises MessageNotFound or NotADeadLetter."""
    found = (await _find(session, project_id, [message_id], mode))[message_id]
    if isinstance(found, AppError):
        raise found
    await discard_many(session, project_id=project_id, message_ids=[message_id])


async def discard_matching(
    session: AsyncSession, *, project_id: UUID, filters: DeadLetterFilter
) -> int:
    """Discard up to MOST_DISCARDED of those that match, the oldest first; returns how many."""
    message_ids = await _matching(session, project_id, filters, limit=MOST_DISCARDED)
    return await discard_many(session, project_id=project_id, message_ids=message_ids)


async def _redrive(
    path: SendPath, sender: Sender, found: Message | AppError
) -> Accepted | AppError:
    if isinstance(found, AppError):
        return found
    # A person's test messages cost nothing, whatever else is redriven with them.
    own = (
        sender
        if sender.key is not None
        else replace(sender, mode="test" if found.mode == "test" else "live")
    )

    async def repeat() -> NewMessage:
        return replace(await repetition(path, own, found, replaces_gone=True), redrives=True)

    try:
        return await accept(path, own, repeat)
    except Exception as exc:  # noqa: BLE001 (whatever it is, the others answer for themselves)
        return as_app_error(exc)


async def _find(
    session: AsyncSession, project_id: UUID, message_ids: Sequence[UUID], mode: str | None
) -> dict[UUID, Message | AppError]:
    """Return each message, or what keeps it from being redriven."""
    connection = await session.connection()
    query = select(col(DeadLetter.message_id)).where(
        col(DeadLetter.project_id) == project_id, col(DeadLetter.message_id).in_(message_ids)
    )
    dead = set((await connection.execute(query)).scalars())
    messages = select(Message).where(
        col(Message.project_id) == project_id, col(Message.id).in_(message_ids)
    )
    known = {message.id: message for message in await session.exec(messages)}
    found: dict[UUID, Message | AppError] = {}
    for message_id in message_ids:
        message = known.get(message_id)
        if message is None or (mode is not None and message.mode != mode):
            found[message_id] = MessageNotFound()
        elif message_id not in dead or message.status != Status.FAILED:
            found[message_id] = NotADeadLetter(
                f"The message is '{message.status}' and no dead letter: nobody gave it up, or it"
                " was redriven or discarded already.",
                details={"status": message.status},
            )
        else:
            found[message_id] = message
    return found


async def _matching(
    session: AsyncSession,
    project_id: UUID,
    filters: DeadLetterFilter,
    *,
    limit: int,
    after: UUID | None = None,
) -> list[UUID]:
    query = select_dead(project_id, filters)
    if after is not None:
        query = query.where(col(DeadLetter.message_id) > after)
    query = query.with_only_columns(col(DeadLetter.message_id), maintain_column_froms=True)
    connection = await session.connection()
    return list(
        (
            await connection.execute(query.order_by(col(DeadLetter.message_id)).limit(limit))
        ).scalars()
    )


def mode_of(sender: Sender) -> str | None:
    return "test" if sender.key is not None and sender.key.mode == "test" else None


def _is_passing(outcome: Accepted | AppError) -> bool:
    """Whether only limits or a full queue kept it from being sent."""
    return isinstance(outcome, AppError) and outcome.status in {429, 503}
