"""A project's connectors. No transaction is open while a provider is asked."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.conditional import IfMatchDep, tagged
from backend.api.inputs.dependencies import (
    ConnectorId,
    PageDep,
    PlatformDep,
    ProjectId,
    ReadSessionDep,
    SessionDep,
)
from backend.api.inputs.filters import TypedSelectionDep
from backend.api.openapi.document import error_responses
from backend.api.resources.connectors.bodies import (
    ConnectorBody,
    ConnectorListBody,
    ConnectorTestBody,
    CreateConnectorBody,
    UpdateConnectorBody,
)
from backend.api.resources.routers import api_router
from backend.platform import Platform
from backend.services.access.access import Action, UserPrincipal, access_of_user
from backend.services.connectors import connectors
from backend.services.connectors.checks import verify_credentials

router = api_router(prefix="/api/v1/projects/{projectId}/connectors", tags=["Connectors"])

Verify = Annotated[bool, Query(description="Ask the provider first; refused credentials are a 400")]


@router.get("", summary="List connectors", responses=error_responses(400, 401, 404))
async def list_connectors(
    project_id: ProjectId,
    user: CurrentUser,
    session: ReadSessionDep,
    page: PageDep,
    selection: TypedSelectionDep,
) -> ConnectorListBody:
    access = await access_of_user(session, user, project_id, Action.VIEW_CONNECTORS)
    return ConnectorListBody.of(
        await connectors.page_of_connectors(session, access, page=page, selection=selection)
    )


@router.post(
    "",
    status_code=201,
    summary="Create a connector",
    responses=error_responses(400, 401, 403, 404, 502),
)
async def create_connector(
    project_id: ProjectId,
    body: CreateConnectorBody,
    user: CurrentUser,
    platform: PlatformDep,
    verify: Verify = False,
) -> ConnectorBody:
    """Credentials are checked for form, encrypted, and never returned.

    A type's first connector is its default.
    """
    async with platform.database.session() as session:
        access = await access_of_user(session, user, project_id, Action.MANAGE_CONNECTORS)
        if verify:
            await connectors.check_running(session, access)
    if verify:
        await verify_credentials(body.type, body.credentials, context=platform.providers)
    async with platform.database.transaction() as session:
        connector = await connectors.create_connector(
            session, access, vault=platform.vault, new=body.to_new_connector()
        )
        return ConnectorBody.of(connector)


@router.get("/{connectorId}", summary="Get a connector", responses=error_responses(401, 404))
async def get_connector(
    project_id: ProjectId,
    connector_id: ConnectorId,
    user: CurrentUser,
    session: ReadSessionDep,
    response: Response,
) -> ConnectorBody:
    access = await access_of_user(session, user, project_id, Action.VIEW_CONNECTORS)
    connector = await connectors.get_connector(session, access, connector_id=connector_id)
    return tagged(response, connector, ConnectorBody.of(connector))


@router.put(
    "/{connectorId}",
    summary="Update a connector",
    responses=error_responses(400, 401, 403, 404, 412),
)
async def update_connector(
    *,
    project_id: ProjectId,
    connector_id: ConnectorId,
    body: UpdateConnectorBody,
    user: CurrentUser,
    platform: PlatformDep,
    session: SessionDep,
    if_match: IfMatchDep,
    response: Response,
) -> ConnectorBody:
    """Only what is sent changes. New credentials let messages go on that waited for them."""
    access = await access_of_user(session, user, project_id, Action.MANAGE_CONNECTORS)
    await if_match.check(
        session,
        await connectors.get_connector(session, access, connector_id=connector_id),
    )
    connector = await connectors.update_connector(
        session,
        access,
        vault=platform.vault,
        connector_id=connector_id,
        changes=body.changes("weight"),
    )
    return tagged(response, connector, ConnectorBody.of(connector))


@router.delete(
    "/{connectorId}",
    status_code=204,
    summary="Delete a connector",
    responses=error_responses(401, 403, 404, 412),
)
async def delete_connector(
    project_id: ProjectId,
    connector_id: ConnectorId,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
) -> Response:
    access = await access_of_user(session, user, project_id, Action.MANAGE_CONNECTORS)
    await if_match.check(
        session,
        await connectors.get_connector(session, access, connector_id=connector_id),
    )
    await connectors.delete_connector(session, access, connector_id=connector_id)
    return Response(status_code=204)


@router.post(
    "/{connectorId}/test", summary="Test a connector", responses=error_responses(401, 403, 404)
)
async def test_connector(
    project_id: ProjectId, connector_id: ConnectorId, user: CurrentUser, platform: PlatformDep
) -> ConnectorTestBody:
    """Asks the provider. Refused credentials are a 200 whose `message` says why."""
    async with platform.database.session() as session:
        access = await access_of_user(session, user, project_id, Action.MANAGE_CONNECTORS)
    health = await connectors.test_connector(
        platform.database,
        access,
        vault=platform.vault,
        context=platform.providers,
        connector_id=connector_id,
    )
    return ConnectorTestBody.of(health)


@router.post(
    "/{connectorId}/activate",
    summary="Activate a connector",
    responses=error_responses(401, 403, 404),
)
async def activate_connector(
    project_id: ProjectId,
    connector_id: ConnectorId,
    user: CurrentUser,
    platform: PlatformDep,
    session: SessionDep,
) -> ConnectorBody:
    """The same as an update with `isActive: true`."""
    return await _set_active(platform, session, user, project_id, connector_id, is_active=True)


@router.post(
    "/{connectorId}/deactivate",
    summary="Deactivate a connector",
    responses=error_responses(401, 403, 404),
)
async def deactivate_connector(
    project_id: ProjectId,
    connector_id: ConnectorId,
    user: CurrentUser,
    platform: PlatformDep,
    session: SessionDep,
) -> ConnectorBody:
    """Sends that name it are refused with CONNECTOR_NOT_ACTIVE."""
    return await _set_active(platform, session, user, project_id, connector_id, is_active=False)


async def _set_active(
    platform: Platform,
    session: AsyncSession,
    user: UserPrincipal,
    project_id: UUID,
    connector_id: UUID,
    *,
    is_active: bool,
) -> ConnectorBody:
    access = await access_of_user(session, user, project_id, Action.MANAGE_CONNECTORS)
    connector = await connectors.update_connector(
        session,
        access,
        vault=platform.vault,
        connector_id=connector_id,
        changes={"is_active": is_active},
    )
    return ConnectorBody.of(connector)
