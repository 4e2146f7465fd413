"""A changed template is what the next send renders, at once."""

from __future__ import annotations

import pytest

from backend.errors import TemplateNotFound
from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.templates import templates
from backend.services.templates.templates import NewTemplate
from tests.world import World


async def test_changes_reach_the_send_path_at_once(world: World, platform: Platform) -> None:
    async with platform.database.transaction() as session:
        template = await templates.create_template(
            session,
            system_access(world.project_id),
            new=NewTemplate("otp", "sandbox", "Code {{code}}"),
        )
    source = await platform.catalog.template(world.project_id, template.id)
    assert (source.content, source.version, source.variables) == ("Code {{code}}", 1, ("code",))
    async with platform.database.transaction() as session:
        await templates.update_template(
            session,
            system_access(world.project_id),
            template_id=template.id,
            changes={"content": "Your code: {{code}}"},
        )
    changed = await platform.catalog.template(world.project_id, template.id)
    assert (changed.content, changed.version) == ("Your code: {{code}}", 2)
    async with platform.database.transaction() as session:
        await templates.delete_template(
            session, system_access(world.project_id), template_id=template.id
        )
    with pytest.raises(TemplateNotFound):
        await platform.catalog.template(world.project_id, template.id)
