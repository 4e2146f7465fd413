"""Saved routes: a name is one route's, and every step can be sent through."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from backend.errors import ConnectorNotFound, RouteNameTaken, ValidationFailed
from backend.ids import ROUTE, encode, new_id
from backend.models import Route
from backend.services.access.access import system_access
from backend.services.routing.saved_routes import NewRoute, create_route, delete_route
from tests.world import World

SANDBOX = {"channel": "sandbox"}


async def _route(world: World, name: str, *steps: Any) -> Route:
    async with world.platform.database.transaction() as session:
        return await create_route(
            session, system_access(world.project_id), new=NewRoute(name, steps or (SANDBOX,))
        )


async def _delete(world: World, route_id: UUID) -> None:
    async with world.platform.database.transaction() as session:
        await delete_route(session, system_access(world.project_id), route_id=route_id)


async def test_a_name_is_taken_until_its_route_is_deleted(world: World) -> None:
    route = await _route(world, "orders")
    with pytest.raises(RouteNameTaken):
        await _route(world, "orders")
    await _delete(world, route.id)
    assert (await _route(world, "orders")).id != route.id


async def test_another_project_may_have_the_same_name(world: World) -> None:
    other = await World.make(world.platform)
    names = [(await _route(project, "orders")).name for project in (world, other)]
    assert names == ["orders", "orders"]


async def test_another_projects_connector_is_no_step(world: World) -> None:
    other = await World.make(world.platform)
    connector = await other.connector()
    with pytest.raises(ConnectorNotFound) as caught:
        await _route(world, "orders", SANDBOX, {"connectorId": str(connector.id)})
    assert [error.field for error in caught.value.errors] == ["steps[1].connectorId"]


async def test_a_step_that_repeats_an_earlier_one_is_refused_by_its_place(world: World) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await _route(world, "orders", SANDBOX, {"channel": "sms"}, SANDBOX)
    assert [error.field for error in caught.value.errors] == ["steps[2]"]


async def test_a_name_that_reads_like_an_id_is_refused(world: World) -> None:
    """A send names a route by either."""
    with pytest.raises(ValidationFailed) as caught:
        await _route(world, encode(ROUTE, new_id()))
    assert [error.field for error in caught.value.errors] == ["name"]
