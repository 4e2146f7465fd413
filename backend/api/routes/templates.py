"""A project's templates, and what they would look like."""

from __future__ import annotations

from fastapi import APIRouter, Response

from backend.api.dependencies import PageDep, ProjectId, ReadSessionDep, SessionDep, TemplateId
from backend.api.openapi import error_responses
from backend.api.schemas.templates import (
    CreateTemplateBody,
    PreviewBody,
    PreviewTemplateBody,
    TemplateBody,
    TemplateListBody,
    UpdateTemplateBody,
)
from backend.api.security import CurrentUser
from backend.services.accounts.access import Action, require_project
from backend.services.rendering import templates
from backend.services.rendering.content import TemplateContent
from backend.services.rendering.preview import preview

router = APIRouter(prefix="/api/v1/projects/{projectId}/templates", tags=["Templates"])


@router.get("", summary="List templates", responses=error_responses(401, 404))
async def list_templates(
    project_id: ProjectId, user: CurrentUser, session: ReadSessionDep, page: PageDep
) -> TemplateListBody:
    await require_project(session, user, project_id, Action.VIEW_TEMPLATES)
    return TemplateListBody.of(await templates.page_of_templates(session, project_id=project_id, page=page))


@router.post("", status_code=201, summary="Create a template", responses=error_responses(400, 401, 403, 404))
async def create_template(
    project_id: ProjectId, body: CreateTemplateBody, user: CurrentUser, session: SessionDep
) -> TemplateBody:
    """Content is Liquid. Variables left out are detected; all are required at a send."""
    await require_project(session, user, project_id, Action.MANAGE_TEMPLATES)
    new = body.to_new_template()
    return TemplateBody.of(await templates.create_template(session, project_id=project_id, new=new, actor=user))


@router.get("/{templateId}", summary="Get a template", responses=error_responses(401, 404))
async def get_template(
    project_id: ProjectId, template_id: TemplateId, user: CurrentUser, session: ReadSessionDep
) -> TemplateBody:
    await require_project(session, user, project_id, Action.VIEW_TEMPLATES)
    return TemplateBody.of(await templates.get_template(session, project_id=project_id, template_id=template_id))


@router.put("/{templateId}", summary="Update a template", responses=error_responses(400, 401, 403, 404))
async def update_template(
    project_id: ProjectId, template_id: TemplateId, body: UpdateTemplateBody, user: CurrentUser, session: SessionDep
) -> TemplateBody:
    """Only what is sent changes. Messages accepted before keep the text they were rendered with."""
    await require_project(session, user, project_id, Action.MANAGE_TEMPLATES)
    template = await templates.update_template(
        session, project_id=project_id, template_id=template_id, changes=body.template_changes(), actor=user
    )
    return TemplateBody.of(template)


@router.delete("/{templateId}", status_code=204, summary="Delete a template", responses=error_responses(401, 403, 404))
async def delete_template(
    project_id: ProjectId, template_id: TemplateId, user: CurrentUser, session: SessionDep
) -> Response:
    await require_project(session, user, project_id, Action.MANAGE_TEMPLATES)
    await templates.delete_template(session, project_id=project_id, template_id=template_id, actor=user)
    return Response(status_code=204)


@router.post("/{templateId}/preview", summary="Preview a template", responses=error_responses(400, 401, 404))
async def preview_template(
    project_id: ProjectId,
    template_id: TemplateId,
    body: PreviewTemplateBody,
    user: CurrentUser,
    session: ReadSessionDep,
) -> PreviewBody:
    """Renders without sending or saving. Missing values and wrong content are reported, not refused."""
    await require_project(session, user, project_id, Action.VIEW_TEMPLATES)
    template = await templates.get_template(session, project_id=project_id, template_id=template_id)
    shown = preview(
        body.over(TemplateContent.of(template)),
        connector_type=template.connector_type,
        variables=body.variables,
        name=template.name,
        send_with=body.connector_type,
    )
    return PreviewBody.of(shown)
