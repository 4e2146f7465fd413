"""Projects: what a user's keys, connectors, templates and messages belong to."""

from __future__ import annotations

from fastapi import Response

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.conditional import IfMatchDep, tagged
from backend.api.inputs.dependencies import (
    PageDep,
    PlatformDep,
    ProjectId,
    ReadSessionDep,
    SessionDep,
)
from backend.api.openapi.document import error_responses
from backend.api.resources.projects.bodies import (
    CreateProject,
    ProjectBody,
    ProjectList,
    UpdateProject,
)
from backend.api.resources.routers import api_router
from backend.services.access.access import access_of_user
from backend.services.accounts import projects

_NULLABLE = (
    "description",
    "content_retention",
    "content_retention_days",
    "retention_days",
    "quiet_hours",
)

router = api_router(prefix="/api/v1/projects", tags=["Projects"])


@router.get("", summary="List projects", responses=error_responses(401))
async def list_projects(user: CurrentUser, session: ReadSessionDep, page: PageDep) -> ProjectList:
    return ProjectList.of(await projects.page_of_projects(session, user, page))


@router.post(
    "",
    status_code=201,
    summary="Create a project",
    description="You become its owner. It starts with a Sandbox connector.",
    responses=error_responses(400, 401, 409),
)
async def create_project(
    body: CreateProject, user: CurrentUser, platform: PlatformDep, session: SessionDep
) -> ProjectBody:
    project = await projects.create_project(
        session,
        user,
        vault=platform.vault,
        plan=platform.settings.default_plan,
        name=body.name,
        description=body.description,
        most_projects=platform.settings.projects_per_user,
    )
    return ProjectBody.of(project)


@router.get("/{projectId}", summary="Get a project", responses=error_responses(401, 404))
async def get_project(
    project_id: ProjectId, user: CurrentUser, session: ReadSessionDep, response: Response
) -> ProjectBody:
    access = await access_of_user(session, user, project_id)
    project = await projects.get_project(session, access)
    return tagged(response, project, ProjectBody.of(project))


@router.put(
    "/{projectId}", summary="Update a project", responses=error_responses(400, 401, 403, 404, 412)
)
async def update_project(
    *,
    project_id: ProjectId,
    body: UpdateProject,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
    response: Response,
) -> ProjectBody:
    access = await access_of_user(session, user, project_id)
    await if_match.check(session, await projects.get_project(session, access))
    project = await projects.update_project(session, access, body.changes(*_NULLABLE))
    return tagged(response, project, ProjectBody.of(project))


@router.delete(
    "/{projectId}",
    status_code=204,
    summary="Delete a project",
    description="Its keys are refused at once, and what waits is canceled. Owners only.",
    responses=error_responses(401, 403, 404, 412),
)
async def delete_project(
    project_id: ProjectId, user: CurrentUser, session: SessionDep, if_match: IfMatchDep
) -> Response:
    access = await access_of_user(session, user, project_id)
    await if_match.check(session, await projects.get_project(session, access))
    await projects.delete_project(session, access)
    return Response(status_code=204)
