"""Who belongs to a project, and as what."""

from __future__ import annotations

from fastapi import Response

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.conditional import IfMatchDep, tagged
from backend.api.inputs.dependencies import PageDep, ProjectId, ReadSessionDep, SessionDep, UserId
from backend.api.openapi.document import error_responses
from backend.api.resources.members.bodies import ChangeRole, MemberBody, MemberList
from backend.api.resources.routers import api_router
from backend.services.access.access import access_of_user
from backend.services.accounts import members

router = api_router(prefix="/api/v1/projects/{projectId}/members", tags=["Members"])


@router.get("", summary="List members", responses=error_responses(401, 404))
async def list_members(
    project_id: ProjectId, user: CurrentUser, session: ReadSessionDep, page: PageDep
) -> MemberList:
    access = await access_of_user(session, user, project_id)
    return MemberList.of(await members.page_of_members(session, access, page))


@router.get("/{userId}", summary="Get a member", responses=error_responses(401, 404))
async def get_member(
    project_id: ProjectId,
    user_id: UserId,
    user: CurrentUser,
    session: ReadSessionDep,
    response: Response,
) -> MemberBody:
    access = await access_of_user(session, user, project_id)
    member = await members.get_member(session, access, user_id)
    return tagged(response, member.membership, MemberBody.of(member))


@router.put(
    "/{userId}",
    summary="Change a member's role",
    description="Only owners make or unmake owners, and there is always one.",
    responses=error_responses(400, 401, 403, 404, 409, 412),
)
async def change_role(
    *,
    project_id: ProjectId,
    user_id: UserId,
    body: ChangeRole,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
    response: Response,
) -> MemberBody:
    access = await access_of_user(session, user, project_id)
    current = await members.get_member(session, access, user_id)
    await if_match.check(session, current.membership)
    member = await members.change_role(session, access, user_id, body.role)
    return tagged(response, member.membership, MemberBody.of(member))


@router.delete(
    "/{userId}",
    status_code=204,
    summary="Remove a member",
    description="Everybody may remove themselves, except the last owner.",
    responses=error_responses(401, 403, 404, 409, 412),
)
async def remove_member(
    project_id: ProjectId,
    user_id: UserId,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
) -> Response:
    access = await access_of_user(session, user, project_id)
    current = await members.get_member(session, access, user_id)
    await if_match.check(session, current.membership)
    await members.remove_member(session, access, user_id)
    return Response(status_code=204)
