"""Dead letters: sent again as new messages, or discarded.

A status never goes back: the failed message stays failed, and a new one with `resentFrom` takes its
place. Anyone who deletes the dead letter sends it, in the statement that writes the new message
(writer.py): two redrives send once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.errors import AppError, MessageNotFound, NotADeadLetter
from backend.ledger import dead_letters
from backend.models import DeadLetter, Message
from backend.process.unexpected import as_app_error
from backend.services.access import audit
from backend.services.access.access import Access, Action
from backend.services.messages.actions import repetition
from backend.services.messages.dead_letters import DeadLetterFilter, select_dead, within_mode
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
        return sum(isinstance(each.outcome, Accepted) for each in self.results)


async def redrive_one(path: SendPath, sender: Sender, message_id: UUID) -> Accepted:
    """Raises MessageNotFound, NotADeadLetter, and what a send raises."""
    [result] = (await redrive_many(path, sender, [message_id])).results
    if isinstance(result.outcome, AppError):
        raise result.outcome
    return result.outcome


async def redrive_many(
    path: SendPath,
    sender: Sender,
    message_ids: Sequence[UUID],
    *,
    filters: DeadLetterFilter | None = None,
) -> Redrive:
    """Return what became of each, in order: what cannot be sent again stays a dead letter.

    `filters` chose them, for the audit log. Raises the error itself when nothing was accepted
    because of limits or a full queue.
    """
    access = sender.access
    access.require(Action.SEND_MESSAGES)
    async with path.database.session() as session:
        dead = await _find(session, access, message_ids)
    outcomes = await asyncio.gather(*(_redrive(path, sender, dead[id_]) for id_ in message_ids))
    if outcomes and all(_is_passing(outcome) for outcome in outcomes):
        raise next(outcome for outcome in outcomes if isinstance(outcome, AppError))
    result = Redrive([Redriven(*pair) for pair in zip(message_ids, outcomes, strict=True)])
    if outcomes:
        counts = {"redriven": result.redriven, "failed": len(outcomes) - result.redriven}
        async with path.database.transaction() as session:
            _record(session, access, "dead_letters.redriven", counts, filters)
    return result


async def redrive_matching(
    path: SendPath,
    sender: Sender,
    filters: DeadLetterFilter,
    *,
    after: UUID | None = None,
    limit: int,
) -> Redrive:
    """Redrive up to `limit` of those that match, the oldest first, beginning behind `after`.

    Raises as redrive_many, and KeyScope.
    """
    filters = within_mode(sender.access, filters)
    async with path.database.session() as session:
        message_ids = await _matching(
            session, sender.project_id, filters, after=after, limit=limit + 1
        )
    chosen = message_ids[:limit]
    result = await redrive_many(path, sender, chosen, filters=filters)
    # What only had to wait is not passed over.
    tried = next(
        (index for index, each in enumerate(result.results) if _is_passing(each.outcome)),
        len(chosen),
    )
    if tried < len(message_ids):
        return replace(result, next_cursor=chosen[tried - 1] if tried else after)
    return result


async def discard_many(
    session: AsyncSession,
    access: Access,
    *,
    message_ids: Sequence[UUID],
    filters: DeadLetterFilter | None = None,
) -> int:
    """Take messages out of the list; they stay failed. Returns how many were in it.

    `filters` chose them, for the audit log.
    """
    access.require(Action.SEND_MESSAGES)
    discarded = await dead_letters.discard(
        session, access.project_id, message_ids, mode=access.only_mode
    )
    if discarded:
        _record(session, access, "dead_letters.discarded", {"discarded": discarded}, filters)
    return discarded


async def discard_one(session: AsyncSession, access: Access, *, message_id: UUID) -> None:
    """Raises MessageNotFound or NotADeadLetter."""
    access.require(Action.SEND_MESSAGES)
    message = (await _find(session, access, [message_id]))[message_id]
    if isinstance(message, AppError):
        raise message
    await dead_letters.discard(session, access.project_id, [message_id], mode=access.only_mode)
    audit.record(
        session,
        access.actor,
        "dead_letters.discarded",
        project_id=access.project_id,
        after={"messageId": ids.encode(ids.MESSAGE, message_id)},
    )


async def discard_matching(
    session: AsyncSession, access: Access, *, filters: DeadLetterFilter
) -> int:
    """Discard up to MOST_DISCARDED of those that match, the oldest first; returns how many.

    Raises KeyScope.
    """
    filters = within_mode(access, filters)
    message_ids = await _matching(session, access.project_id, filters, limit=MOST_DISCARDED)
    return await discard_many(session, access, message_ids=message_ids, filters=filters)


def _record(
    session: AsyncSession,
    access: Access,
    action: str,
    counts: Mapping[str, int],
    filters: DeadLetterFilter | None,
) -> None:
    described = filters.described() if filters is not None else {}
    after = {**counts, **({"filter": described} if described else {})}
    audit.record(session, access.actor, action, project_id=access.project_id, after=after)


async def _redrive(
    path: SendPath, sender: Sender, message: Message | AppError
) -> Accepted | AppError:
    if isinstance(message, AppError):
        return message
    # A person's test messages cost nothing, whatever else is redriven with them.
    repeater = (
        sender
        if sender.key is not None
        else replace(sender, mode="test" if message.mode == "test" else "live")
    )

    async def repeat() -> NewMessage:
        return replace(await repetition(path, repeater, message, replaces_gone=True), redrives=True)

    try:
        return await accept(path, repeater, repeat)
    except Exception as exc:  # noqa: BLE001 (whatever it is, the others answer for themselves)
        return as_app_error(exc)


async def _find(
    session: AsyncSession, access: Access, message_ids: Sequence[UUID]
) -> dict[UUID, Message | AppError]:
    """Return each message, or what keeps it from being redriven."""
    connection = await session.connection()
    query = select(col(DeadLetter.message_id)).where(
        col(DeadLetter.project_id) == access.project_id,
        col(DeadLetter.message_id).in_(message_ids),
    )
    dead = set((await connection.execute(query)).scalars())
    messages = select(Message).where(
        col(Message.project_id) == access.project_id, col(Message.id).in_(message_ids)
    )
    known = {message.id: message for message in await session.exec(messages)}
    by_id: dict[UUID, Message | AppError] = {}
    for message_id in message_ids:
        message = known.get(message_id)
        if message is None or access.only_mode not in {None, message.mode}:
            by_id[message_id] = MessageNotFound()
        elif message_id not in dead or message.status != Status.FAILED:
            by_id[message_id] = NotADeadLetter(
                f"The message is '{message.status}' and not a dead letter: it was never given up,"
                " or it has been redriven or discarded.",
                details={"status": message.status},
            )
        else:
            by_id[message_id] = message
    return by_id


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


def _is_passing(outcome: Accepted | AppError) -> bool:
    """Whether only limits or a full queue kept it from being sent."""
    return isinstance(outcome, AppError) and outcome.status in {429, 503}
