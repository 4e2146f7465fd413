"""Reference 000's names for what a project has: its connectors are `services` there, its messages
`logs`.
"""

from __future__ import annotations

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.dependencies import PageDep, ProjectId, ReadSessionDep
from backend.api.openapi.document import error_responses
from backend.api.resources.connectors.handlers import create_connector
from backend.api.resources.messages.bodies import MessageListBody
from backend.api.resources.messages.reads import FilterDep
from backend.api.resources.routers import api_router
from backend.services.access.access import Action, access_of_user
from backend.services.reporting.messages import list_messages

router = api_router(prefix="/api/v1/projects/{projectId}")

router.post(
    "/services",
    tags=["Connectors"],
    status_code=201,
    summary="Create a connector (alias)",
    responses=error_responses(400, 401, 403, 404, 502),
)(create_connector)


@router.get(
    "/logs",
    tags=["Messages"],
    summary="List messages (alias)",
    responses=error_responses(400, 401, 404),
)
async def list_logs(
    project_id: ProjectId,
    user: CurrentUser,
    session: ReadSessionDep,
    filters: FilterDep,
    page: PageDep,
) -> MessageListBody:
    """`GET /messages` of this project."""
    access = await access_of_user(session, user, project_id, Action.VIEW_MESSAGES)
    return MessageListBody.of(await list_messages(session, access, filters=filters, page=page))
