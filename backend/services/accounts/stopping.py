"""Stop a project and let it go on: from the commit on nothing of it is claimed, fed or accepted.

What is switched off waits and goes on later; what was deleted is canceled. The send path asks
`IS_OPEN` (models/project.py); here is what has to happen once, in the transaction of the change.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.ledger import cancel
from backend.models import Connector, ProjectMember
from backend.models.session import Change, announce, driver_of

DELETED_REASON: Final = "The project was deleted."
# Of the request that deletes; what is more than that, the sweeper cancels.
_BATCHES_AT_ONCE: Final = 5

_CANCEL_CAMPAIGNS: Final = """
UPDATE campaigns c SET state = 'canceled', reason = %(reason)s, ended_at = now(),
    updated_at = now(),
    accepted_rows = (SELECT count(*) FROM campaign_rows r WHERE r.campaign_id = c.id
        AND r.state = 'accepted'),
    failed_rows = (SELECT count(*) FROM campaign_rows r WHERE r.campaign_id = c.id
        AND r.state = 'failed')
WHERE c.project_id = %(project)s AND c.state IN ('draft', 'running', 'paused')
"""


async def announce_project(session: AsyncSession, project_id: UUID) -> None:
    """Have every process ask again what the project and its connectors may do; what waits is looked
    at at once.
    """
    announce(session, Change("project", project_id))
    connectors = await session.exec(
        select(Connector.id).where(col(Connector.project_id) == project_id)
    )
    for connector_id in connectors:
        announce(session, Change("connector", connector_id))


async def hold_project(session: AsyncSession, project_id: UUID) -> None:
    """Call after the change that closes it: what a worker has claimed and not begun to send waits
    too.
    """
    await session.flush()
    await cancel.take_back(await driver_of(session), project_id)
    await announce_project(session, project_id)


async def hold_projects_of(session: AsyncSession, user_id: UUID) -> None:
    """Call after switching an owner off or on; a project with another active owner goes on."""
    owned = select(ProjectMember.project_id).where(
        col(ProjectMember.user_id) == user_id, col(ProjectMember.role) == "owner"
    )
    for project_id in (await session.exec(owned)).all():
        await hold_project(session, project_id)


async def end_project(session: AsyncSession, project_id: UUID) -> None:
    """Call after the deletion: cancels its campaigns, and what waits (of very much, the rest
    follows).
    """
    await session.flush()
    connection = await driver_of(session)
    await connection.execute(_CANCEL_CAMPAIGNS, {"project": project_id, "reason": DELETED_REASON})
    await cancel.take_back(connection, project_id)
    for _ in range(_BATCHES_AT_ONCE):
        if not await cancel.cancel_project(connection, project_id, DELETED_REASON):
            break
    await announce_project(session, project_id)
