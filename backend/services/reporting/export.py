"""All messages that a filter matches, in small steps: memory stays the same however many there are.

Each step is a short read of its own. A reader may take an hour for its download, and must hold
neither a connection nor a snapshot that long; new messages have larger ids, so that they do not
disturb a walk downwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from backend.models.session import Database
from backend.services.access.access import Access, Action
from backend.services.lists.paging import PageRequest
from backend.services.messages.message_filters import MessageFilter, within
from backend.services.reporting.messages import MessageSummary, page_of_rows

_STEP: Final = 500


async def walk_messages(
    database: Database, access: Access, *, filters: MessageFilter
) -> AsyncIterator[list[MessageSummary]]:
    """Yield the messages, newest first, some at a time; at least one list.

    Raises ValidationFailed.
    """
    access.require(Action.VIEW_MESSAGES)
    filters = within(access, filters)
    cursor: UUID | None = None
    while True:
        async with database.session() as session:
            rows = await page_of_rows(
                session,
                project_id=access.project_id,
                filters=filters,
                page=PageRequest(limit=_STEP, cursor=cursor),
            )
        yield rows[:_STEP]
        if len(rows) <= _STEP:
            return
        cursor = rows[_STEP - 1].id
