"""A project's saved routes: made, changed, deleted.

A step that nothing can be sent through is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.errors import (
    ConnectorNotFound,
    FieldError,
    ProjectNotFound,
    RouteNameTaken,
    RouteNotFound,
    ValidationFailed,
)
from backend.models import Connector, Project, Route
from backend.models.base import utc_now
from backend.models.session import Change, announce
from backend.names import check_name
from backend.services.access import audit
from backend.services.access.access import Access, Action, Actor
from backend.services.lists.paging import Page, PageRequest, fetch_page
from backend.services.routing.ways import known_channel

MOST_STEPS: Final = 10
LONGEST_FALLBACK_S: Final = 7 * 24 * 3600

StepMapping = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NewRoute:
    """`steps`: each {channel} or {connectorId: a UUID}."""

    name: str
    steps: Sequence[StepMapping]
    fallback_after_s: int | None = None


async def create_route(session: AsyncSession, access: Access, *, new: NewRoute) -> Route:
    """Raises RouteNameTaken, ValidationFailed, InvalidConnectorType or ConnectorNotFound."""
    access.require(Action.MANAGE_ROUTES)
    await _check_name(session, access.project_id, new.name)
    steps = await _checked_steps(session, access.project_id, new.steps)
    route = Route(
        project_id=access.project_id,
        name=new.name,
        steps=steps,
        fallback_after_s=new.fallback_after_s,
    )
    session.add(route)
    await _record(session, access.actor, route, "route.created", after=_audited(route))
    return route


async def page_of_routes(
    session: AsyncSession, access: Access, *, page: PageRequest
) -> Page[Route]:
    """Newest first."""
    access.require(Action.VIEW_ROUTES)
    query = select(Route).where(
        col(Route.project_id) == access.project_id, col(Route.deleted_at).is_(None)
    )
    return await fetch_page(session, query, Route.id, page)


async def get_route(session: AsyncSession, access: Access, *, route_id: UUID) -> Route:
    """Raises RouteNotFound."""
    access.require(Action.VIEW_ROUTES)
    route = await Route.find(session, access.project_id, route_id)
    if route is None:
        raise RouteNotFound
    return route


async def update_route(
    session: AsyncSession, access: Access, *, route_id: UUID, changes: Mapping[str, Any]
) -> Route:
    """Apply `changes`: any of name, steps, fallback_after_s.

    Messages accepted before keep their ways.
    """
    access.require(Action.MANAGE_ROUTES)
    route = await get_route(session, access, route_id=route_id)
    before = _audited(route)
    if changes.get("name", route.name) != route.name:
        await _check_name(session, access.project_id, changes["name"])
        route.name = changes["name"]
    if "steps" in changes:
        route.steps = await _checked_steps(session, access.project_id, changes["steps"])
    if "fallback_after_s" in changes:
        route.fallback_after_s = changes["fallback_after_s"]
    route.updated_at = utc_now()
    await _record(
        session, access.actor, route, "route.updated", before=before, after=_audited(route)
    )
    return route


async def delete_route(session: AsyncSession, access: Access, *, route_id: UUID) -> None:
    """Gone for the API and for sends to come; messages accepted before keep their routes."""
    access.require(Action.MANAGE_ROUTES)
    route = await get_route(session, access, route_id=route_id)
    route.deleted_at = utc_now()
    await _record(session, access.actor, route, "route.deleted", before=_audited(route))


async def _check_name(session: AsyncSession, project_id: UUID, name: str) -> None:
    """Under the project's lock, so that of two that take a name at once the second is told."""
    check_name(name)
    if ids.decode(ids.ROUTE, name) is not None:
        message = f"'{name}' reads like an id; a route's name must not."
        raise ValidationFailed(errors=[FieldError("name", "VALIDATION_ERROR", message)])
    if not await Project.lock(session, project_id):
        raise ProjectNotFound
    if await Route.find_named(session, project_id, name) is not None:
        message = f"The project has a route '{name}' already; change it, or choose another name."
        raise RouteNameTaken(message, errors=[FieldError("name", RouteNameTaken.code, message)])


async def _checked_steps(
    session: AsyncSession, project_id: UUID, steps: Sequence[StepMapping]
) -> list[dict[str, str]]:
    """Return the steps as they are stored."""
    checked: list[dict[str, str]] = []
    for index, step in enumerate(steps):
        place = f"steps[{index}]"
        if "channel" in step:
            known_channel(step["channel"], f"{place}.channel")
        elif await Connector.find(session, project_id, UUID(step["connectorId"])) is None:
            name = ids.encode(ids.CONNECTOR, UUID(step["connectorId"]))
            message = f"There is no connector '{name}' in this project."
            raise ConnectorNotFound(
                message,
                errors=[FieldError(f"{place}.connectorId", ConnectorNotFound.code, message)],
            )
        if step in checked:
            message = f"Step {index + 1} repeats an earlier one. Leave out one of them."
            raise ValidationFailed(errors=[FieldError(place, "VALIDATION_ERROR", message)])
        checked.append(dict(step))
    return checked


def _audited(route: Route) -> dict[str, Any]:
    steps = [_readable(step) for step in route.steps]
    return {"name": route.name, "steps": steps, "fallback_after_s": route.fallback_after_s}


def _readable(step: StepMapping) -> str:
    return (
        step["channel"]
        if "channel" in step
        else ids.encode(ids.CONNECTOR, UUID(step["connectorId"]))
    )


async def _record(
    session: AsyncSession,
    actor: Actor,
    route: Route,
    action: str,
    **sides: dict[str, Any],
) -> None:
    audit.record(session, actor, action, project_id=route.project_id, subject_id=route.id, **sides)
    await session.flush()
    announce(session, Change("route", route.id))
