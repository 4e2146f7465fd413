"""Dead letters leave the list: redriven ones in accept.py, discarded ones here."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models import DeadLetter, Message


async def discard(
    session: AsyncSession, project_id: UUID, message_ids: Sequence[UUID], *, mode: str | None
) -> int:
    """Delete a project's dead letters, of one mode or of both (None); return how many there were.

    The messages stay failed.
    """
    chosen = delete(DeadLetter).where(
        col(DeadLetter.project_id) == project_id, col(DeadLetter.message_id).in_(message_ids)
    )
    if mode is not None:
        of_mode = select(col(Message.id)).where(
            col(Message.id).in_(message_ids), col(Message.mode) == mode
        )
        chosen = chosen.where(col(DeadLetter.message_id).in_(of_mode))
    connection = await session.connection()
    return (await connection.execute(chosen)).rowcount
