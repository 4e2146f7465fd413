"""The messages a project has sent in a month, for when Redis has no counter."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from backend.models.partitions import month_start
from backend.models.session import Database
from backend.services.reporting.periods import Span
from backend.services.reporting.rollups import RollupQuery, Scope, count_messages


async def count_month(database: Database, project_id: UUID, start: datetime) -> int:
    """Return how many live messages were accepted in the month that begins at `start`; always
    exact.
    """
    span = Span(start, month_start(start, 1))
    async with database.session() as session:
        (counts,) = await count_messages(
            session, Scope(project_id, mode="live"), [RollupQuery(span)]
        )
    return sum(count.messages for count in counts)
