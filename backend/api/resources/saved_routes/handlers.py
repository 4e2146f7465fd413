"""A project's saved routes: which channels are tried after which."""

from __future__ import annotations

from fastapi import Response

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.conditional import IfMatchDep, tagged
from backend.api.inputs.dependencies import PageDep, ProjectId, ReadSessionDep, RouteId, SessionDep
from backend.api.openapi.document import error_responses
from backend.api.resources.routers import api_router
from backend.api.resources.saved_routes.bodies import (
    CreateRouteBody,
    RouteBody,
    RouteListBody,
    UpdateRouteBody,
)
from backend.services.access.access import Action, access_of_user
from backend.services.routing import saved_routes

router = api_router(prefix="/api/v1/projects/{projectId}/routes", tags=["Routes"])


@router.get("", summary="List routes", responses=error_responses(400, 401, 404))
async def list_routes(
    project_id: ProjectId, user: CurrentUser, session: ReadSessionDep, page: PageDep
) -> RouteListBody:
    access = await access_of_user(session, user, project_id, Action.VIEW_ROUTES)
    return RouteListBody.of(await saved_routes.page_of_routes(session, access, page=page))


@router.post(
    "",
    status_code=201,
    summary="Create a route",
    responses=error_responses(400, 401, 403, 404, 409),
)
async def create_route(
    project_id: ProjectId, body: CreateRouteBody, user: CurrentUser, session: SessionDep
) -> RouteBody:
    """A send names it in `route`: each step is tried when the one before has failed, or not
    delivered in time.
    """
    access = await access_of_user(session, user, project_id, Action.MANAGE_ROUTES)
    new = body.to_new_route()
    return RouteBody.of(await saved_routes.create_route(session, access, new=new))


@router.get("/{routeId}", summary="Get a route", responses=error_responses(401, 404))
async def get_route(
    project_id: ProjectId,
    route_id: RouteId,
    user: CurrentUser,
    session: ReadSessionDep,
    response: Response,
) -> RouteBody:
    access = await access_of_user(session, user, project_id, Action.VIEW_ROUTES)
    route = await saved_routes.get_route(session, access, route_id=route_id)
    return tagged(response, route, RouteBody.of(route))


@router.put(
    "/{routeId}", summary="Update a route", responses=error_responses(400, 401, 403, 404, 409, 412)
)
async def update_route(
    *,
    project_id: ProjectId,
    route_id: RouteId,
    body: UpdateRouteBody,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
    response: Response,
) -> RouteBody:
    """Only what is sent changes. Messages accepted before go the ways they were accepted with."""
    access = await access_of_user(session, user, project_id, Action.MANAGE_ROUTES)
    await if_match.check(session, await saved_routes.get_route(session, access, route_id=route_id))
    route = await saved_routes.update_route(
        session, access, route_id=route_id, changes=body.route_changes()
    )
    return tagged(response, route, RouteBody.of(route))


@router.delete(
    "/{routeId}",
    status_code=204,
    summary="Delete a route",
    responses=error_responses(401, 403, 404, 412),
)
async def delete_route(
    project_id: ProjectId,
    route_id: RouteId,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
) -> Response:
    """Sends that name it are refused from now on."""
    access = await access_of_user(session, user, project_id, Action.MANAGE_ROUTES)
    await if_match.check(session, await saved_routes.get_route(session, access, route_id=route_id))
    await saved_routes.delete_route(session, access, route_id=route_id)
    return Response(status_code=204)
