"""Invitations to a project, and accepting one."""

from __future__ import annotations

from fastapi import Response

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.dependencies import (
    InvitationId,
    PageDep,
    PlatformDep,
    ProjectId,
    ReadSessionDep,
    SessionDep,
)
from backend.api.openapi.document import error_responses
from backend.api.resources.members.bodies import (
    AcceptInvitation,
    CreatedInvitation,
    CreateInvitation,
    InvitationList,
    Joined,
)
from backend.api.resources.routers import api_router
from backend.services.access.access import access_of_user
from backend.services.accounts import invitations
from backend.services.limits.logins import count_invitation

router = api_router(prefix="/api/v1", tags=["Members"])

_OF_PROJECT = "/projects/{projectId}/invitations"


@router.get(_OF_PROJECT, summary="List invitations", responses=error_responses(401, 403, 404))
async def list_invitations(
    project_id: ProjectId, user: CurrentUser, session: ReadSessionDep, page: PageDep
) -> InvitationList:
    access = await access_of_user(session, user, project_id)
    return InvitationList.of(await invitations.page_of_invitations(session, access, page))


@router.post(
    _OF_PROJECT,
    status_code=201,
    summary="Invite somebody",
    description=(
        "Mails a link that is good once, for a week. Inviting the same address again replaces the"
        " invitation."
    ),
    responses=error_responses(400, 401, 403, 404, 409, 429),
)
async def invite(
    project_id: ProjectId, body: CreateInvitation, user: CurrentUser, platform: PlatformDep
) -> CreatedInvitation:
    await count_invitation(platform.redis, platform.settings, user)
    async with platform.database.transaction() as session:
        access = await access_of_user(session, user, project_id)
        new = await invitations.invite(
            session,
            access,
            user,
            platform.settings,
            email=body.email,
            role=body.role,
        )
    platform.mail.post(new.mail)
    return CreatedInvitation.with_link(new)


@router.delete(
    _OF_PROJECT + "/{invitationId}",
    status_code=204,
    summary="Revoke an invitation",
    responses=error_responses(401, 403, 404),
)
async def revoke_invitation(
    project_id: ProjectId, invitation_id: InvitationId, user: CurrentUser, session: SessionDep
) -> Response:
    access = await access_of_user(session, user, project_id)
    await invitations.revoke_invitation(session, access, invitation_id)
    return Response(status_code=204)


@router.post(
    "/invitations/accept",
    summary="Accept an invitation",
    description=(
        "With the account of the address that was invited. Without one, register with `invitation`."
    ),
    responses=error_responses(400, 401, 403, 409),
)
async def accept_invitation(
    body: AcceptInvitation, user: CurrentUser, session: SessionDep
) -> Joined:
    return Joined.of(await invitations.accept_invitation(session, user, token=body.token))
