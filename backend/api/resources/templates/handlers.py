"""A project's templates, and what they would look like."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Path, Response
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.conditional import IfMatchDep, tagged
from backend.api.inputs.dependencies import (
    PageDep,
    ProjectId,
    ReadSessionDep,
    SessionDep,
    TemplateId,
)
from backend.api.inputs.filters import WantedOfTypeDep
from backend.api.openapi.document import error_responses
from backend.api.resources.routers import api_router
from backend.api.resources.templates.bodies import (
    CreateTemplateBody,
    PreviewBody,
    PreviewTemplateBody,
    RollbackBody,
    TemplateBody,
    TemplateListBody,
    UpdateTemplateBody,
    VersionBody,
    VersionListBody,
)
from backend.services.access.access import Action, UserPrincipal, access_of_user
from backend.services.templates import templates
from backend.services.templates.content import TemplateContent
from backend.services.templates.preview import preview

router = api_router(prefix="/api/v1/projects/{projectId}/templates", tags=["Templates"])

Version = Annotated[int, Path(ge=1, le=2_147_483_647, examples=[1])]


@router.get("", summary="List templates", responses=error_responses(400, 401, 404))
async def list_templates(
    project_id: ProjectId,
    user: CurrentUser,
    session: ReadSessionDep,
    page: PageDep,
    selection: WantedOfTypeDep,
) -> TemplateListBody:
    access = await access_of_user(session, user, project_id, Action.VIEW_TEMPLATES)
    return TemplateListBody.of(
        await templates.page_of_templates(session, access, page=page, selection=selection)
    )


@router.post(
    "",
    status_code=201,
    summary="Create a template",
    responses=error_responses(400, 401, 403, 404, 429),
)
async def create_template(
    project_id: ProjectId, body: CreateTemplateBody, user: CurrentUser, session: SessionDep
) -> TemplateBody:
    """Content is Liquid. Variables left out are detected; all are required at a send."""
    access = await access_of_user(session, user, project_id, Action.MANAGE_TEMPLATES)
    new = body.to_new_template()
    return TemplateBody.of(await templates.create_template(session, access, new=new))


@router.get("/{templateId}", summary="Get a template", responses=error_responses(401, 404))
async def get_template(
    project_id: ProjectId,
    template_id: TemplateId,
    user: CurrentUser,
    session: ReadSessionDep,
    response: Response,
) -> TemplateBody:
    access = await access_of_user(session, user, project_id, Action.VIEW_TEMPLATES)
    template = await templates.get_template(session, access, template_id=template_id)
    return tagged(response, template, TemplateBody.of(template))


@router.put(
    "/{templateId}",
    summary="Update a template",
    responses=error_responses(400, 401, 403, 404, 412, 429),
)
async def update_template(
    *,
    project_id: ProjectId,
    template_id: TemplateId,
    body: UpdateTemplateBody,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
    response: Response,
) -> TemplateBody:
    """Only what is sent changes. Messages accepted before keep the text they were rendered with."""
    access = await access_of_user(session, user, project_id, Action.MANAGE_TEMPLATES)
    await if_match.check(
        session,
        await templates.get_template(session, access, template_id=template_id),
    )
    template = await templates.update_template(
        session, access, template_id=template_id, changes=body.template_changes()
    )
    return tagged(response, template, TemplateBody.of(template))


@router.delete(
    "/{templateId}",
    status_code=204,
    summary="Delete a template",
    responses=error_responses(401, 403, 404, 412),
)
async def delete_template(
    project_id: ProjectId,
    template_id: TemplateId,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
) -> Response:
    access = await access_of_user(session, user, project_id, Action.MANAGE_TEMPLATES)
    await if_match.check(
        session,
        await templates.get_template(session, access, template_id=template_id),
    )
    await templates.delete_template(session, access, template_id=template_id)
    return Response(status_code=204)


@router.post(
    "/{templateId}/preview",
    summary="Preview a template",
    responses=error_responses(400, 401, 404, 429),
)
async def preview_template(
    project_id: ProjectId,
    template_id: TemplateId,
    body: PreviewTemplateBody,
    user: CurrentUser,
    session: ReadSessionDep,
) -> PreviewBody:
    """Renders without sending or saving.

    Missing values and wrong content are reported, not refused.
    """
    access = await access_of_user(session, user, project_id, Action.VIEW_TEMPLATES)
    template = await templates.get_template(session, access, template_id=template_id)
    shown = preview(
        body.over(TemplateContent.of(template)),
        connector_type=template.connector_type,
        variables=body.variables,
        name=template.name,
        send_with=body.connector_type,
        project_id=project_id,
    )
    return PreviewBody.of(shown)


@router.post(
    "/{templateId}/activate",
    summary="Activate a template",
    responses=error_responses(401, 403, 404),
)
async def activate_template(
    project_id: ProjectId, template_id: TemplateId, user: CurrentUser, session: SessionDep
) -> TemplateBody:
    """The same as an update with `isActive: true`."""
    return await _set_active(session, user, project_id, template_id, is_active=True)


@router.post(
    "/{templateId}/deactivate",
    summary="Deactivate a template",
    responses=error_responses(401, 403, 404),
)
async def deactivate_template(
    project_id: ProjectId, template_id: TemplateId, user: CurrentUser, session: SessionDep
) -> TemplateBody:
    """Sends that name it are refused with TEMPLATE_NOT_ACTIVE; accepted messages go out."""
    return await _set_active(session, user, project_id, template_id, is_active=False)


async def _set_active(
    session: AsyncSession,
    user: UserPrincipal,
    project_id: UUID,
    template_id: UUID,
    *,
    is_active: bool,
) -> TemplateBody:
    access = await access_of_user(session, user, project_id, Action.MANAGE_TEMPLATES)
    template = await templates.update_template(
        session, access, template_id=template_id, changes={"is_active": is_active}
    )
    return TemplateBody.of(template)


@router.get(
    "/{templateId}/versions",
    summary="List a template's versions",
    responses=error_responses(401, 404),
)
async def list_versions(
    project_id: ProjectId,
    template_id: TemplateId,
    user: CurrentUser,
    session: ReadSessionDep,
    page: PageDep,
) -> VersionListBody:
    """Newest first. Every change of content, subject, html, variables or variants stored one."""
    access = await access_of_user(session, user, project_id, Action.VIEW_TEMPLATES)
    versions = await templates.page_of_versions(session, access, template_id=template_id, page=page)
    return VersionListBody.of(versions)


@router.get(
    "/{templateId}/versions/{version}",
    summary="Get a template's version",
    responses=error_responses(400, 401, 404),
)
async def get_version(
    project_id: ProjectId,
    template_id: TemplateId,
    version: Version,
    user: CurrentUser,
    session: ReadSessionDep,
) -> VersionBody:
    access = await access_of_user(session, user, project_id, Action.VIEW_TEMPLATES)
    return VersionBody.of(
        await templates.get_version(session, access, template_id=template_id, version=version)
    )


@router.post(
    "/{templateId}/rollback",
    summary="Roll a template back",
    responses=error_responses(400, 401, 403, 404, 429),
)
async def roll_back_template(
    project_id: ProjectId,
    template_id: TemplateId,
    body: RollbackBody,
    user: CurrentUser,
    session: SessionDep,
) -> TemplateBody:
    """Makes a new version with the texts of an earlier one; naming the current one changes
    nothing.
    """
    access = await access_of_user(session, user, project_id, Action.MANAGE_TEMPLATES)
    template = await templates.roll_back_template(
        session, access, template_id=template_id, version=body.version
    )
    return TemplateBody.of(template)
