"""List the stored templates that exceed the limits of this version.

Run `python -m backend.services.templates.stored` in the new version's environment before its first
send: a template that it lists is refused when it is sent, until someone changes its text.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from backend import ids
from backend.errors import ValidationFailed
from backend.models import Template
from backend.models.session import Database
from backend.services.templates.content import TemplateContent, detect_variables
from backend.settings import get_settings

if TYPE_CHECKING:
    from sqlmodel.ext.asyncio.session import AsyncSession

_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Unusable:
    """A stored template and what is wrong with it; the problem names field, limit and line."""

    project_id: UUID
    template_id: UUID
    name: str
    problem: str

    def __str__(self) -> str:
        template = ids.encode(ids.TEMPLATE, self.template_id)
        project = ids.encode(ids.PROJECT, self.project_id)
        return f"{template} '{self.name}' of {project}: {self.problem}"


async def unusable_templates(session: AsyncSession) -> AsyncIterator[Unusable]:
    """Yield the templates that can no longer be read, once for each wrong field, oldest first."""
    last: UUID | None = None
    while page := await Template.page_of_all(session, after=last, most=_PAGE):
        for template in page:
            try:
                detect_variables(TemplateContent.of(template))
            except ValidationFailed as exc:
                for error in exc.errors:
                    yield Unusable(template.project_id, template.id, template.name, error.message)
        last = page[-1].id


async def main() -> int:
    database = Database(get_settings().require_database_url(), pool_size=2)
    count = 0
    try:
        async with database.session() as session:
            async for unusable in unusable_templates(session):
                count += 1
                sys.stdout.write(f"{unusable}\n")
    finally:
        await database.close()
    summary = "All templates can be used."
    if count:
        summary = f"{count} template texts exceed a limit; change them."
    sys.stdout.write(f"{summary}\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
