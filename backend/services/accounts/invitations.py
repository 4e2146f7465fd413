"""Invitations to a project: a link for one e-mail address, good once, for a week."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import AlreadyMember, Forbidden, InvalidLink, InvitationNotFound
from backend.models import Invitation, Project, ProjectMember, User
from backend.models.base import utc_now
from backend.services.access import audit
from backend.services.access.access import (
    ALLOWED,
    Access,
    Action,
    Actor,
    Role,
    UserPrincipal,
)
from backend.services.accounts.mail import Mail, shown
from backend.services.accounts.members import check_may_grant
from backend.services.accounts.tokens import INVITATION_PREFIX, new_opaque_token, token_hash
from backend.services.lists.paging import Page, PageRequest, fetch_page
from backend.settings import Settings

_LIFE: Final = timedelta(days=7)
_TEXT: Final = """{inviter} invites you to the project "{project}" on MessageJS, as {role}.

Accept here, within a week:

{link}

If you do not know what this is about, ignore this mail.
"""


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """`link` holds the token and cannot be had again."""

    invitation: Invitation
    link: str
    mail: Mail


@dataclass(frozen=True, slots=True)
class InvitationSummary:
    """What who holds the link may know before accepting: the mail said as much."""

    project_name: str
    email: str
    role: Role


async def invite(
    session: AsyncSession,
    access: Access,
    inviter: UserPrincipal,
    settings: Settings,
    *,
    email: str,
    role: Role,
) -> NewInvitation:
    """An older invitation of the same address is replaced. Raises AlreadyMember and Forbidden."""
    access.require(Action.MANAGE_MEMBERS)
    check_may_grant(access, role)
    project_id, project_name = access.project_id, access.project_name
    user = await User.find_by_email(session, email)
    if user is not None and await ProjectMember.find(session, project_id, user.id) is not None:
        raise AlreadyMember(
            f"{email} is a member of '{project_name}' already; change the role instead."
        )
    for older in await Invitation.list_for_email(session, project_id, email):
        older.revoked_at = utc_now()
    token = new_opaque_token(INVITATION_PREFIX)
    invitation = Invitation(
        project_id=project_id,
        email=email,
        role=role.value,
        invited_by=inviter.user_id,
        token_hash=token_hash(token),
        expires_at=utc_now() + _LIFE,
    )
    session.add(invitation)
    _record(session, access.actor, "invitation.created", invitation)
    await session.flush()
    link = f"{settings.public_url}/invitation?token={token}"
    text = _TEXT.format(
        inviter=_inviter(inviter), project=shown(project_name), role=role.value, link=link
    )
    mail = Mail("invitation", email, "You are invited to a MessageJS project", text, link)
    return NewInvitation(invitation, link, mail)


def _inviter(principal: UserPrincipal) -> str:
    return (
        principal.email
        if principal.is_confirmed
        else f"{principal.email} (an address that is not confirmed)"
    )


async def page_of_invitations(
    session: AsyncSession, access: Access, page: PageRequest
) -> Page[Invitation]:
    """Those not yet accepted, expired ones too, newest first."""
    access.require(Action.MANAGE_MEMBERS)
    query = select(Invitation).where(
        col(Invitation.project_id) == access.project_id,
        col(Invitation.accepted_at).is_(None),
        col(Invitation.revoked_at).is_(None),
    )
    return await fetch_page(session, query, Invitation.id, page)


async def revoke_invitation(session: AsyncSession, access: Access, invitation_id: UUID) -> None:
    """Raises InvitationNotFound."""
    access.require(Action.MANAGE_MEMBERS)
    invitation = await Invitation.find(session, access.project_id, invitation_id)
    if invitation is None:
        raise InvitationNotFound
    invitation.revoked_at = utc_now()
    _record(session, access.actor, "invitation.revoked", invitation)
    await session.flush()


async def describe_invitation(session: AsyncSession, *, token: str) -> InvitationSummary:
    """Raises InvalidLink."""
    invitation, project = await _find_open(session, token)
    return InvitationSummary(project.name, invitation.email, Role(invitation.role))


async def check_invitation(session: AsyncSession, *, token: str, email: str) -> Invitation:
    """Return the open invitation, locked.

    Raises InvalidLink, and Forbidden for another's address.
    """
    invitation, _project = await _find_open(session, token)
    if invitation.email != email.strip().lower():
        raise Forbidden(
            "The invitation is for another e-mail address; use the account of that one."
        )
    return invitation


async def accept_invitation(
    session: AsyncSession, principal: UserPrincipal, *, token: str
) -> ProjectMember:
    """Raises InvalidLink, Forbidden for another's address, and AlreadyMember."""
    invitation = await check_invitation(session, token=token, email=principal.email)
    if await ProjectMember.find(session, invitation.project_id, principal.user_id) is not None:
        raise AlreadyMember("You are a member of this project already.")
    invitation.accepted_at = utc_now()
    member = ProjectMember(
        project_id=invitation.project_id, user_id=principal.user_id, role=invitation.role
    )
    session.add(member)
    audit.record(
        session,
        principal.actor,
        "member.joined",
        project_id=invitation.project_id,
        subject_id=principal.user_id,
        after={"role": invitation.role},
    )
    await session.flush()
    return member


async def _find_open(session: AsyncSession, token: str) -> tuple[Invitation, Project]:
    """The invitation is locked."""
    invitation = await Invitation.find_for_update(session, token_hash(token))
    project = await Project.find(session, invitation.project_id) if invitation is not None else None
    if (
        invitation is None
        or project is None
        or not invitation.is_open
        or not await _may_invite(session, invitation)
    ):
        raise InvalidLink(
            "The invitation is not valid, has been used or has expired; ask for a new one."
        )
    return invitation, project


async def _may_invite(session: AsyncSession, invitation: Invitation) -> bool:
    """Whether who invited could still do so: an invitation gives no more than its sender has."""
    inviter = await User.find(session, invitation.invited_by)
    member = await ProjectMember.find(session, invitation.project_id, invitation.invited_by)
    if inviter is None or not inviter.is_active or member is None:
        return False
    role = Role(member.role)
    return Action.MANAGE_MEMBERS in ALLOWED[role] and (
        invitation.role != Role.OWNER or role is Role.OWNER
    )


def _record(session: AsyncSession, actor: Actor, action: str, invitation: Invitation) -> None:
    values = {"email": invitation.email, "role": invitation.role}
    is_new = action.endswith(".created")
    audit.record(
        session,
        actor,
        action,
        project_id=invitation.project_id,
        subject_id=invitation.id,
        before=None if is_new else values,
        after=values if is_new else None,
    )
