"""What the server's administrators do: users and projects switched off and on, plans, the whole
audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import Forbidden, LastOwner, ProjectNotFound, UserNotFound
from backend.models import AuthSession, Project, User
from backend.models.base import utc_now
from backend.models.session import Change, announce
from backend.services.access import audit
from backend.services.access.access import UserPrincipal
from backend.services.accounts.stopping import hold_project, hold_projects_of
from backend.services.lists.paging import Page, PageRequest, fetch_page

_AUDITED: Final = ("is_active", "is_platform_admin")


def require_admin(principal: UserPrincipal) -> None:
    """Raises Forbidden."""
    if not principal.is_platform_admin:
        raise Forbidden("Only an administrator of this server may do this.")


async def page_of_users(
    session: AsyncSession, principal: UserPrincipal, page: PageRequest, *, email: str | None = None
) -> Page[User]:
    """Newest first; `email` is a part of the address."""
    require_admin(principal)
    query = select(User)
    if email:
        query = query.where(col(User.email).contains(email.strip().lower(), autoescape=True))
    return await fetch_page(session, query, User.id, page)


async def get_user(session: AsyncSession, principal: UserPrincipal, user_id: UUID) -> User:
    """Raises UserNotFound."""
    require_admin(principal)
    user = await User.find(session, user_id)
    if user is None:
        raise UserNotFound
    return user


async def update_user(
    session: AsyncSession, principal: UserPrincipal, user_id: UUID, changes: Mapping[str, Any]
) -> User:
    """Apply `changes`: is_active, is_platform_admin. Raises UserNotFound and LastOwner.

    The projects that have no other active owner accept and send nothing while the user is switched
    off.
    """
    user = await get_user(session, principal, user_id)
    before = {field: getattr(user, field) for field in _AUDITED}
    after = {**before, **changes}
    if (
        before["is_platform_admin"]
        and before["is_active"]
        and not (after["is_platform_admin"] and after["is_active"])
    ):
        await _keep_an_admin(session, user_id)
    for field, value in changes.items():
        setattr(user, field, value)
    user.updated_at = utc_now()
    if not user.is_active:
        await AuthSession.revoke_all(session, user.id)
    audit.record(
        session, principal.actor, "user.updated", subject_id=user_id, before=before, after=after
    )
    await session.flush()
    if user.is_active != before["is_active"]:
        await hold_projects_of(session, user.id)
    return user


async def page_of_projects(
    session: AsyncSession, principal: UserPrincipal, page: PageRequest
) -> Page[Project]:
    """Every project of the server, newest first."""
    require_admin(principal)
    return await fetch_page(
        session, select(Project).where(col(Project.deleted_at).is_(None)), Project.id, page
    )


async def get_project(session: AsyncSession, principal: UserPrincipal, project_id: UUID) -> Project:
    """Raises ProjectNotFound."""
    require_admin(principal)
    project = await Project.find(session, project_id)
    if project is None:
        raise ProjectNotFound
    return project


async def update_project(
    session: AsyncSession,
    principal: UserPrincipal,
    project_id: UUID,
    *,
    plan: str | None,
    is_active: bool | None,
) -> Project:
    """None leaves as it is.

    A project switched off here stays so until an administrator switches it on.

    Raises ProjectNotFound.
    """
    project = await get_project(session, principal, project_id)
    record = partial(
        audit.record, session, principal.actor, project_id=project_id, subject_id=project_id
    )
    if plan is not None and plan != project.plan:
        record("project.plan_changed", before={"plan": project.plan}, after={"plan": plan})
        project.plan = plan
    if is_active is False and project.suspended_at is None:
        record(
            "project.suspended", before={"is_active": project.is_active}, after={"is_active": False}
        )
        project.suspended_at = utc_now()
        await hold_project(session, project_id)
    if is_active is True and not project.is_running:
        record("project.resumed", before={"is_active": False}, after={"is_active": True})
        project.suspended_at, project.is_active = None, True
        await hold_project(session, project_id)
    project.updated_at = utc_now()
    await session.flush()
    announce(session, Change("project", project_id))
    return project


async def page_of_entries(
    session: AsyncSession, principal: UserPrincipal, filters: audit.AuditFilter, page: PageRequest
) -> Page[audit.AuditLine]:
    """The audit log of the whole server."""
    require_admin(principal)
    return await audit.page_of_entries(session, filters, page)


async def _keep_an_admin(session: AsyncSession, leaving: UUID) -> None:
    """Locks the administrators, in one order: of two who leave at once the second sees the first
    gone.
    """
    query = (
        select(User.id)
        .where(col(User.is_platform_admin).is_(True), col(User.is_active).is_(True))
        .order_by(col(User.id))
        .with_for_update()
    )
    if not set((await session.exec(query)).all()) - {leaving}:
        raise LastOwner(
            "The server would have no administrator; make somebody else one first.",
            code="LAST_ADMIN",
        )
