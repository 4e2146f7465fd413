"""Templates that were stored under other limits: listed, refused clearly, and repairable."""

from __future__ import annotations

from functools import partial

import pytest

from backend.errors import ValidationFailed
from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.policy.request import SendRequest
from backend.services.templates import templates
from backend.services.templates.stored import unusable_templates
from tests.world import World

OVER = "a\n{{ (1..1000000) | size }}"


async def test_a_stored_template_over_a_limit_is_listed_with_its_line(
    world: World, platform: Platform
) -> None:
    over = await world.template(OVER, variables=[])
    fine = await world.template("Hello {{name}}")
    async with platform.database.session() as session:
        result = {
            unusable_template.template_id: str(unusable_template)
            async for unusable_template in unusable_templates(session)
        }
    assert fine.id not in result
    assert "'welcome'" in result[over.id]
    assert "line 2: the range (1..1000000) has more than 2000 items" in result[over.id]


async def test_a_stored_template_over_a_limit_is_refused_when_it_is_sent(world: World) -> None:
    await world.connector()
    over = await world.template(OVER, variables=[])
    with pytest.raises(ValidationFailed, match="line 2: the range"):
        await world.send(SendRequest(to="ada", connector_type="sandbox", template_id=over.id))


async def test_a_stored_template_over_a_limit_can_be_switched_off_and_put_right(
    world: World, platform: Platform
) -> None:
    over = await world.template(OVER + "{{name}}", variables=["name"])
    update = partial(templates.update_template, template_id=over.id)
    access = system_access(world.project_id)
    async with platform.database.transaction() as session:
        changed = await update(session, access, changes={"is_active": False})
        assert (changed.is_active, changed.version) == (False, 1)
    async with platform.database.transaction() as session:
        changed = await update(session, access, changes={"content": "Hello {{name}}"})
        assert (changed.variables, changed.version) == (["name"], 2)


async def test_an_earlier_version_over_a_limit_does_not_come_back(
    world: World, platform: Platform
) -> None:
    async with platform.database.transaction() as session:
        template = await templates.create_template(
            session,
            system_access(world.project_id),
            new=templates.NewTemplate("otp", "sandbox", "Code {{code}}"),
        )
        await templates.update_template(
            session,
            system_access(world.project_id),
            template_id=template.id,
            changes={"content": "Your code {{code}}"},
        )
    async with platform.database.raw.connection() as connection:
        await connection.execute(
            "UPDATE template_versions SET content = %s WHERE template_id = %s AND version = 1",
            (OVER, template.id),
        )
    with pytest.raises(ValidationFailed, match="line 2"):
        async with platform.database.transaction() as session:
            await templates.roll_back_template(
                session, system_access(world.project_id), template_id=template.id, version=1
            )
