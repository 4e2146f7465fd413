"""Dead letters as people look at them: messages that were given up although another try may help.

Every query begins with the small table of dead letters, and looks the messages up one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, func, select, true
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models import DeadLetter, Message
from backend.services.lists.paging import Page, PageRequest
from backend.services.reporting.message_filters import MessageFilter, filter_conditions
from backend.services.reporting.messages import MessageSummary, summaries_of
from backend.status import Status

# Counted one by one up to here.
_MOST_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """`code`: why they were given up.

    Of `messages`, times are those of acceptance, and a status is not asked for.
    """

    messages: MessageFilter
    code: str | None = None


async def list_dead_letters(
    session: AsyncSession, *, project_id: UUID, filters: DeadLetterFilter, page: PageRequest
) -> Page[MessageSummary]:
    """The newest message first; raises ValidationFailed."""
    matching = select_dead(project_id, filters)
    connection = await session.connection()
    counted = select(func.count()).select_from(matching.limit(_MOST_COUNTED + 1).subquery())
    total = (await connection.execute(counted)).scalar_one()
    if page.cursor is not None:
        matching = matching.where(col(DeadLetter.message_id) < page.cursor)
    matching = (
        matching.order_by(col(DeadLetter.message_id).desc())
        .offset(page.offset)
        .limit(page.limit + 1)
    )
    rows = await summaries_of(session, matching)
    items = rows[: page.limit]
    return Page(
        items=items,
        request=page,
        total=min(total, _MOST_COUNTED),
        next_cursor=items[-1].id if len(rows) > page.limit else None,
        is_total_estimate=total > _MOST_COUNTED,
    )


def select_dead(project_id: UUID, filters: DeadLetterFilter) -> Select[Any]:
    """Return the select of messages that are dead letters. Raises ValidationFailed.

    A receipt may still have come and settled one: then it is none any more.
    """
    conditions = [
        col(Message.status) == Status.FAILED,
        *filter_conditions(project_id, filters.messages),
    ]
    if filters.code is not None:
        conditions.append(col(Message.error_code) == filters.code)
    message = (
        select(*Message.__table__.columns)  # type: ignore[attr-defined]
        .where(col(Message.id) == col(DeadLetter.message_id), *conditions)
        .limit(1)
        .correlate(DeadLetter)
        .lateral("message")
    )
    return (
        select(*message.c)
        .select_from(DeadLetter)
        .join(message, true())
        .where(col(DeadLetter.project_id) == project_id)
    )
