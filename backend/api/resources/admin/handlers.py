"""For the server's administrators: users and projects.

What a project holds stays its members' own.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.conditional import IfMatchDep, tagged
from backend.api.inputs.dependencies import PageDep, ProjectId, ReadSessionDep, SessionDep, UserId
from backend.api.inputs.filters import storable_text
from backend.api.openapi.document import error_responses
from backend.api.resources.admin.bodies import (
    AdminProjectBody,
    AdminProjectList,
    UpdateAnyProject,
    UpdateUser,
    UserBody,
    UserList,
)
from backend.api.resources.routers import api_router
from backend.services.accounts import administration

router = api_router(prefix="/api/v1/admin", tags=["Administration"])


@router.get("/users", summary="List users", responses=error_responses(400, 401, 403))
async def list_users(
    user: CurrentUser,
    session: ReadSessionDep,
    page: PageDep,
    email: Annotated[str | None, Query(max_length=255, description="A part of the address")] = None,
) -> UserList:
    expected = storable_text("email", email)
    return UserList.of(await administration.page_of_users(session, user, page, email=expected))


@router.get("/users/{userId}", summary="Get a user", responses=error_responses(401, 403, 404))
async def get_user(
    user_id: UserId, user: CurrentUser, session: ReadSessionDep, response: Response
) -> UserBody:
    result = await administration.get_user(session, user, user_id)
    return tagged(response, result, UserBody.of(result))


@router.put(
    "/users/{userId}",
    summary="Switch a user off or on",
    description="The last administrator stays one.",
    responses=error_responses(400, 401, 403, 404, 409, 412),
)
async def update_user(
    *,
    user_id: UserId,
    body: UpdateUser,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
    response: Response,
) -> UserBody:
    await if_match.check(session, await administration.get_user(session, user, user_id))
    changed = await administration.update_user(session, user, user_id, body.changes())
    return tagged(response, changed, UserBody.of(changed))


@router.get("/projects", summary="List all projects", responses=error_responses(401, 403))
async def list_projects(
    user: CurrentUser, session: ReadSessionDep, page: PageDep
) -> AdminProjectList:
    return AdminProjectList.of(await administration.page_of_projects(session, user, page))


@router.get(
    "/projects/{projectId}", summary="Get any project", responses=error_responses(401, 403, 404)
)
async def get_project(
    project_id: ProjectId, user: CurrentUser, session: ReadSessionDep, response: Response
) -> AdminProjectBody:
    project = await administration.get_project(session, user, project_id)
    return tagged(response, project, AdminProjectBody.of(project))


@router.put(
    "/projects/{projectId}",
    summary="Change a plan, or switch a project off or on",
    responses=error_responses(400, 401, 403, 404, 412),
)
async def update_project(
    *,
    project_id: ProjectId,
    body: UpdateAnyProject,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
    response: Response,
) -> AdminProjectBody:
    await if_match.check(session, await administration.get_project(session, user, project_id))
    project = await administration.update_project(
        session, user, project_id, plan=body.plan, is_active=body.is_active
    )
    return tagged(response, project, AdminProjectBody.of(project))
