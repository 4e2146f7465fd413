"""Bodies of /projects/{id}/members, /projects/{id}/invitations and /invitations."""

from __future__ import annotations

from pydantic import Field

from backend import ids
from backend.api.inputs.bodies import Email, Instant, Pagination, RequestBody, ResponseBody
from backend.models.invitation import Invitation
from backend.models.project import ProjectMember
from backend.services.access.access import Role
from backend.services.accounts.invitations import NewInvitation
from backend.services.accounts.members import Member
from backend.services.lists.paging import Page


class ChangeRole(RequestBody):
    role: Role = Field(examples=["developer"])


class MemberBody(ResponseBody):
    user_id: str = Field(examples=["usr_01h455vb4pex5vsknk084sn02q"])
    email: str
    name: str
    role: Role
    created_at: Instant = Field(description="Joined")
    updated_at: Instant

    @classmethod
    def of(cls, member: Member) -> MemberBody:
        return cls(
            user_id=ids.encode(ids.USER, member.user.id),
            email=member.user.email,
            name=member.user.name,
            role=Role(member.membership.role),
            created_at=member.membership.created_at,
            updated_at=member.membership.updated_at,
        )


class MemberList(ResponseBody):
    members: list[MemberBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[Member]) -> MemberList:
        return cls(
            members=[MemberBody.of(member) for member in page.items], pagination=Pagination.of(page)
        )


class CreateInvitation(RequestBody):
    email: Email
    role: Role = Field(default=Role.DEVELOPER, examples=["developer"])


class InvitationBody(ResponseBody):
    id: str = Field(examples=["inv_01h455vb4pex5vsknk084sn02q"])
    email: str
    role: Role
    invited_by: str = Field(examples=["usr_01h455vb4pex5vsknk084sn02q"])
    created_at: Instant
    expires_at: Instant

    @classmethod
    def of(cls, invitation: Invitation) -> InvitationBody:
        return cls(
            id=ids.encode(ids.INVITATION, invitation.id),
            email=invitation.email,
            role=Role(invitation.role),
            invited_by=ids.encode(ids.USER, invitation.invited_by),
            created_at=invitation.created_at,
            expires_at=invitation.expires_at,
        )


class CreatedInvitation(InvitationBody):
    url: str = Field(
        description="The link that is mailed; shown once, to pass on where no mail is set up"
    )

    @classmethod
    def with_link(cls, new: NewInvitation) -> CreatedInvitation:
        return cls(**InvitationBody.of(new.invitation).model_dump(), url=new.link)


class InvitationList(ResponseBody):
    invitations: list[InvitationBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[Invitation]) -> InvitationList:
        return cls(
            invitations=[InvitationBody.of(row) for row in page.items],
            pagination=Pagination.of(page),
        )


class AcceptInvitation(RequestBody):
    token: str = Field(max_length=255, description="From the link in the mail", examples=["iv_..."])


class Joined(ResponseBody):
    project_id: str = Field(examples=["proj_01h455vb4pex5vsknk084sn02q"])
    role: Role

    @classmethod
    def of(cls, member: ProjectMember) -> Joined:
        return cls(project_id=ids.encode(ids.PROJECT, member.project_id), role=Role(member.role))
