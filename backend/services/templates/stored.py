"""Which stored templates are over the limits of this version: `python -m
backend.services.templates.stored`.

Run it with the new version's environment before its first send; a template that it names is refused
when it is sent, until its text is changed.
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
        template, project = (
            ids.encode(ids.TEMPLATE, self.template_id),
            ids.encode(ids.PROJECT, self.project_id),
        )
        return f"{template} '{self.name}' of {project}: {self.problem}"


async def unusable_templates(session: AsyncSession) -> AsyncIterator[Unusable]:
    """Yield the templates that can no longer be read, one for each wrong field, oldest first."""
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
            async for unusable_template in unusable_templates(session):
                count += 1
                sys.stdout.write(f"{unusable_template}\n")
    finally:
        await database.close()
    summary = (
        f"{count} texts of templates are over a limit." if count else "All templates can be used."
    )
    sys.stdout.write(f"{summary}\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
