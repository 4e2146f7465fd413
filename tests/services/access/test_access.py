"""Who may do what: the whole table, written out a second time on purpose."""

from __future__ import annotations

import pytest

from backend.errors import Forbidden, ProjectNotFound
from backend.ids import new_id
from backend.models import ProjectMember, User
from backend.platform import Platform
from backend.services.access.access import ALLOWED, Action, Role, UserPrincipal, access_of_user
from tests.world import World

# o owner, a admin, d developer, v viewer
MATRIX = {
    Action.VIEW_PROJECT: "oadv",
    Action.UPDATE_PROJECT: "oa",
    Action.DELETE_PROJECT: "o",
    Action.VIEW_MEMBERS: "oadv",
    Action.MANAGE_MEMBERS: "oa",
    Action.VIEW_AUDIT: "oa",
    Action.VIEW_KEYS: "oadv",
    Action.MANAGE_KEYS: "oad",
    Action.VIEW_CONNECTORS: "oadv",
    Action.MANAGE_CONNECTORS: "oad",
    Action.VIEW_TEMPLATES: "oadv",
    Action.MANAGE_TEMPLATES: "oad",
    Action.VIEW_ROUTES: "oadv",
    Action.MANAGE_ROUTES: "oad",
    Action.VIEW_MESSAGES: "oadv",
    Action.SEND_MESSAGES: "oad",
    Action.VIEW_STATISTICS: "oadv",
    Action.MANAGE_OWNERS: "o",
}


def test_every_action_is_in_the_table() -> None:
    assert MATRIX.keys() == set(Action)
    assert ALLOWED.keys() == set(Role)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("action", list(Action))
def test_a_role_may_what_the_table_says(role: Role, action: Action) -> None:
    assert (action in ALLOWED[role]) == (role.value[0] in MATRIX[action])


async def member(platform: Platform, world: World, role: str | None) -> UserPrincipal:
    async with platform.database.transaction() as session:
        user = User(email=f"{new_id()}@example.com", password_hash="x")
        session.add(user)
        await session.flush()
        if role is not None:
            session.add(ProjectMember(project_id=world.project_id, user_id=user.id, role=role))
    return UserPrincipal(user_id=user.id, session_id=new_id(), email=user.email)


async def test_a_member_gets_the_project_within_the_role(platform: Platform, world: World) -> None:
    viewer = await member(platform, world, "viewer")
    async with platform.database.session() as session:
        access = await access_of_user(session, viewer, world.project_id, Action.VIEW_PROJECT)
        assert access.project_id == world.project_id
        with pytest.raises(Forbidden, match=r"viewer.*manage the keys"):
            await access_of_user(session, viewer, world.project_id, Action.MANAGE_KEYS)


async def test_for_strangers_the_project_does_not_exist(platform: Platform, world: World) -> None:
    stranger = await member(platform, world, None)
    async with platform.database.session() as session:
        with pytest.raises(ProjectNotFound):
            await access_of_user(session, stranger, world.project_id, Action.VIEW_PROJECT)


async def test_administering_the_platform_opens_no_tenants_project(
    platform: Platform, world: World
) -> None:
    stranger = await member(platform, world, None)
    admin = UserPrincipal(
        stranger.user_id, stranger.session_id, stranger.email, is_platform_admin=True
    )
    async with platform.database.session() as session:
        with pytest.raises(ProjectNotFound):
            await access_of_user(session, admin, world.project_id, Action.VIEW_PROJECT)
