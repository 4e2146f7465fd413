"""Reference 000's names for what a project has: its connectors are `services` there, its messages
`logs`.
"""

from __future__ import annotations

from backend.api.dependencies import PageDep, ProjectId, ReadSessionDep
from backend.api.openapi import error_responses
from backend.api.routes.connectors import create_connector
from backend.api.routes.message_reads import FilterDep
from backend.api.routing import api_router
from backend.api.schemas.messages import MessageListBody
from backend.api.security import CurrentUser
from backend.services.accounts.access import Action, require_project
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
    await require_project(session, user, project_id, Action.VIEW_MESSAGES)
    return MessageListBody.of(
        await list_messages(session, project_id=project_id, filters=filters, page=page)
    )
