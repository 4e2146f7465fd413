"""What the send path knows by heart is dropped as soon as it changes."""

from __future__ import annotations

import pytest

from backend.errors import InvalidApiKey
from backend.models.session import Change
from backend.platform import Platform
from backend.services.access.access import Action, system_access
from backend.services.catalog.catalog import Catalog
from backend.services.keys.keys import NewKey, create_key, revoke_key
from tests.world import World


async def _key(world: World) -> tuple[Change, str]:
    platform = world.platform
    async with platform.database.transaction() as session:
        key, text = await create_key(
            session,
            system_access(world.project_id),
            pepper=platform.settings.require_key_pepper(),
            vault=platform.vault,
            new=NewKey("Shop", mode="test", scopes=("messages:send",)),
        )
    return Change("key", key.id), text


def _catalog(platform: Platform) -> Catalog:
    """One that hears of no change by itself."""
    return Catalog(
        platform.database,
        key_pepper=platform.settings.require_key_pepper(),
        default_rate_limit=None,
        monthly_quotas={},
    )


async def test_a_keys_access_is_its_scopes_and_its_mode(world: World) -> None:
    _, text = await _key(world)
    access = (await world.platform.catalog.key(text)).access
    assert access.project_id == world.project_id
    assert (access.mode, access.only_mode) == ("test", "test")
    assert access.permissions == {Action.SEND_MESSAGES}
    assert access.actor.key_id is not None


async def test_a_changed_key_is_asked_for_again_and_no_other(world: World) -> None:
    catalog = _catalog(world.platform)
    (changed, text), (_, other_text) = await _key(world), await _key(world)
    other = await catalog.key(other_text)
    await catalog.key(text)
    async with world.platform.database.transaction() as session:
        await revoke_key(session, system_access(world.project_id), key_id=changed.id)
    assert (await catalog.key(text)).name == "Shop"  # nobody has told this catalog
    catalog.forget({changed})
    with pytest.raises(InvalidApiKey):
        await catalog.key(text)
    assert await catalog.key(other_text) is other


async def test_a_changed_project_takes_its_keys_with_it(world: World) -> None:
    catalog = _catalog(world.platform)
    _, text = await _key(world)
    before = await catalog.key(text)
    catalog.forget({Change("project", world.project_id)})
    assert await catalog.key(text) is not before
