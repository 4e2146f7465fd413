"""A project's members. There is always an owner, and only owners make or unmake owners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import Forbidden, LastOwner, MemberNotFound
from backend.models import Project, ProjectMember, User
from backend.models.base import utc_now
from backend.services.access import audit
from backend.services.access.access import Access, Action, Role, project_of
from backend.services.lists.paging import Page, PageRequest


@dataclass(frozen=True, slots=True)
class Member:
    membership: ProjectMember
    user: User


async def page_of_members(session: AsyncSession, access: Access, page: PageRequest) -> Page[Member]:
    """Newest account first."""
    access.require(Action.VIEW_MEMBERS)
    mine = col(ProjectMember.project_id) == access.project_id
    total = (await session.exec(select(func.count()).select_from(ProjectMember).where(mine))).one()
    query = (
        select(ProjectMember, User)
        .join(User, col(User.id) == col(ProjectMember.user_id))
        .where(mine)
    )
    if page.cursor is not None:
        query = query.where(col(User.id) < page.cursor)
    query = query.order_by(col(User.id).desc()).offset(page.offset).limit(page.limit + 1)
    rows: Sequence[tuple[ProjectMember, User]] = (await session.exec(query)).all()
    items = [Member(membership, user) for membership, user in rows[: page.limit]]
    next_cursor = items[-1].user.id if len(rows) > page.limit else None
    return Page(items=items, request=page, total=total, next_cursor=next_cursor)


async def get_member(session: AsyncSession, access: Access, user_id: UUID) -> Member:
    """Raises MemberNotFound."""
    access.require(Action.VIEW_MEMBERS)
    return await _member(session, access.project_id, user_id)


async def change_role(session: AsyncSession, access: Access, user_id: UUID, role: Role) -> Member:
    """Raises MemberNotFound, Forbidden and LastOwner."""
    access.require(Action.MANAGE_MEMBERS)
    project = await project_of(session, access)
    member = await _member(session, access.project_id, user_id)
    before = member.membership.role
    check_may_grant(access, role, Role(before))
    if before == Role.OWNER and role is not Role.OWNER:
        await _keep_an_owner(session, project, user_id)
    member.membership.role = role
    member.membership.updated_at = utc_now()
    audit.record(
        session,
        access.actor,
        "member.role_changed",
        project_id=access.project_id,
        subject_id=user_id,
        before={"role": before},
        after={"role": role.value},
    )
    await session.flush()
    return member


async def remove_member(session: AsyncSession, access: Access, user_id: UUID) -> None:
    """Everybody may leave. Raises MemberNotFound, Forbidden and LastOwner."""
    is_leaving = user_id == access.actor.user_id
    access.require(Action.VIEW_PROJECT if is_leaving else Action.MANAGE_MEMBERS)
    project = await project_of(session, access)
    member = await _member(session, access.project_id, user_id)
    role = Role(member.membership.role)
    if not is_leaving:
        check_may_grant(access, role)
    if role is Role.OWNER:
        await _keep_an_owner(session, project, user_id)
    await session.delete(member.membership)
    audit.record(
        session,
        access.actor,
        "member.left" if is_leaving else "member.removed",
        project_id=access.project_id,
        subject_id=user_id,
        before={"role": role.value},
    )
    await session.flush()


def check_may_grant(access: Access, *roles: Role) -> None:
    """Raises Forbidden when one of the roles is owner and the caller isn't one."""
    if Role.OWNER in roles and Action.MANAGE_OWNERS not in access.permissions:
        raise Forbidden(
            f"Only an owner of '{access.project_name}' may make or unmake owners; ask one."
        )


async def _member(session: AsyncSession, project_id: UUID, user_id: UUID) -> Member:
    membership = await ProjectMember.find(session, project_id, user_id)
    user = await User.find(session, user_id) if membership is not None else None
    if membership is None or user is None:
        raise MemberNotFound
    return Member(membership, user)


async def _keep_an_owner(session: AsyncSession, project: Project, leaving: UUID) -> None:
    """Locks the owners, in one order: of two who leave at once the second waits and sees the first
    gone.
    """
    query = (
        select(ProjectMember.user_id)
        .join(User, col(User.id) == col(ProjectMember.user_id))
        .where(
            col(ProjectMember.project_id) == project.id,
            col(ProjectMember.role) == Role.OWNER.value,
            # One who was switched off by the server's administrator is in charge of nothing.
            col(User.is_active).is_(True),
        )
        .order_by(col(ProjectMember.user_id))
        .with_for_update(of=ProjectMember)
    )
    owners = set((await session.exec(query)).all())
    if not owners - {leaving}:
        raise LastOwner(f"'{project.name}' would have no owner; make somebody else an owner first.")
