"""Dead letters as people look at them: messages that were given up although another try may help.

Every query begins with the small table of dead letters, and looks the messages up one by one.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models import DeadLetter
from backend.services.access.access import Access, Action
from backend.services.lists.paging import Page, PageRequest
from backend.services.messages.dead_letters import DeadLetterFilter, select_dead, within_mode
from backend.services.reporting.messages import MessageSummary, summaries_of

# Counted one by one up to here.
_MOST_COUNTED: Final = 10_000


async def list_dead_letters(
    session: AsyncSession, access: Access, *, filters: DeadLetterFilter, page: PageRequest
) -> Page[MessageSummary]:
    """The newest message first; raises ValidationFailed."""
    access.require(Action.VIEW_MESSAGES)
    filters = within_mode(access, filters)
    matching = select_dead(access.project_id, filters)
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
