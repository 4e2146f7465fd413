"""Projects: made with their owner and a Sandbox connector, so that the first message needs no
account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.crypto import Vault
from backend.errors import Conflict, FieldError, ProjectNotActive, ValidationFailed
from backend.models import ContentCursor, Project, ProjectMember, User
from backend.models.base import utc_now
from backend.models.session import Change, announce
from backend.names import check_name
from backend.provider_types import SANDBOX
from backend.services.access import audit
from backend.services.access.access import Action, Role, UserPrincipal, require_project
from backend.services.accounts.stopping import end_project, hold_project
from backend.services.connectors.connectors import NewConnector, create_connector
from backend.services.lists.paging import Page, PageRequest, fetch_page

_CONTENT: Final = ("content_retention", "content_retention_days")
_AUDITED: Final = ("name", "description", "is_active", *_CONTENT, "retention_days", "quiet_hours")


async def create_project(
    session: AsyncSession,
    principal: UserPrincipal,
    *,
    vault: Vault,
    plan: str,
    name: str,
    description: str | None = None,
    most_projects: int = 0,
) -> Project:
    """`most_projects`: how many a user may have made, 0: any number; administrators may.

    Raises Conflict.
    """
    check_name(name)
    if most_projects and not principal.is_platform_admin:
        await _check_room(session, principal.user_id, most_projects)
    project = Project(user_id=principal.user_id, name=name, description=description, plan=plan)
    session.add(project)
    await session.flush()
    session.add(ProjectMember(project_id=project.id, user_id=principal.user_id, role=Role.OWNER))
    await create_connector(
        session,
        vault=vault,
        project_id=project.id,
        new=NewConnector(type=SANDBOX, name="Sandbox", is_default=True),
    )
    audit.record(
        session,
        principal,
        "project.created",
        project_id=project.id,
        subject_id=project.id,
        after=_audited(project),
    )
    await session.flush()
    return project


async def list_projects(session: AsyncSession, principal: UserPrincipal) -> list[Project]:
    """All projects the user is a member of, oldest first: for the dashboard's switcher."""
    return await Project.list_for_member(session, principal.user_id)


async def page_of_projects(
    session: AsyncSession, principal: UserPrincipal, page: PageRequest
) -> Page[Project]:
    """Newest first."""
    mine = select(ProjectMember.project_id).where(col(ProjectMember.user_id) == principal.user_id)
    query = select(Project).where(col(Project.id).in_(mine), col(Project.deleted_at).is_(None))
    return await fetch_page(session, query, Project.id, page)


async def get_project(session: AsyncSession, principal: UserPrincipal, project_id: UUID) -> Project:
    return await require_project(session, principal, project_id, Action.VIEW_PROJECT)


async def update_project(
    session: AsyncSession, principal: UserPrincipal, project_id: UUID, changes: Mapping[str, Any]
) -> Project:
    """Apply `changes`: any of _AUDITED.

    An inactive project accepts and sends nothing; what waits goes on later.

    Raises ValidationFailed for content kept a number of days without the number, and for a name
    with line breaks.
    """
    project = await require_project(session, principal, project_id, Action.UPDATE_PROJECT)
    if changes.get("name") is not None:
        check_name(changes["name"])
    before = _audited(project)
    if changes.get("is_active") and project.suspended_at is not None:
        raise ProjectNotActive(
            "An administrator of this server has switched the project off; ask them."
        )
    for field, value in changes.items():
        setattr(project, field, value)
    _check_content_days(project)
    if any(getattr(project, field) != before[field] for field in _CONTENT):
        # Messages that were kept until now, or masked only, are walked through again.
        await ContentCursor.start_over(session, project.id)
    project.updated_at = utc_now()
    audit.record(
        session,
        principal,
        "project.updated",
        project_id=project.id,
        subject_id=project.id,
        before=before,
        after=_audited(project),
    )
    await session.flush()
    announce(session, Change("project", project.id))
    if project.is_active != before["is_active"]:
        await hold_project(session, project.id)
    return project


async def delete_project(session: AsyncSession, principal: UserPrincipal, project_id: UUID) -> None:
    """Gone for the API, its keys refused at once, what waits canceled; rows stay for the history."""
    project = await require_project(session, principal, project_id, Action.DELETE_PROJECT)
    project.deleted_at = utc_now()
    project.is_active = False
    audit.record(
        session,
        principal,
        "project.deleted",
        project_id=project.id,
        subject_id=project.id,
        before=_audited(project),
    )
    await end_project(session, project.id)


async def _check_room(session: AsyncSession, user_id: UUID, most_projects: int) -> None:
    # Locked, so that of two projects made at the same time the second sees the first.
    await session.exec(
        select(User.id).where(col(User.id) == user_id).with_for_update(key_share=True)
    )
    # Those the user made, not owns: they count wherever they are given to, and nobody is given
    # others'.
    mine = select(func.count()).where(
        col(Project.user_id) == user_id, col(Project.deleted_at).is_(None)
    )
    if (await session.exec(mine)).one() >= most_projects:
        raise Conflict(
            f"You have made {most_projects} projects, as many as a user may; delete one, or have"
            " the server's operator raise PROJECTS_PER_USER.",
            code="TOO_MANY_PROJECTS",
        )


def _check_content_days(project: Project) -> None:
    if project.content_retention != "days":
        project.content_retention_days = None
    elif project.content_retention_days is None:
        message = "'contentRetention' is 'days'; say how many in 'contentRetentionDays'."
        raise ValidationFailed(
            errors=[FieldError("contentRetentionDays", "MISSING_REQUIRED_FIELD", message)]
        )


def _audited(project: Project) -> dict[str, Any]:
    return {field: getattr(project, field) for field in _AUDITED}
