"""What a template said at one time. Rows are written once: a rollback is another version."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, Row


class TemplateVersion(Row, table=True):
    __tablename__ = "template_versions"
    __table_args__ = (UniqueConstraint("template_id", "version", name="uq_template_versions"),)

    project_id: UUID
    template_id: UUID = Field(foreign_key="templates.id")
    version: int
    created_by: UUID | None = None  # the user; None: the system
    restored_from: int | None = None  # the version that a rollback brought back
    content: str
    subject: str | None = None
    html: str | None = None
    variables: list[str] = Field(default_factory=list, sa_type=Json)
    variants: JsonObject = Field(default_factory=dict, sa_type=Json)

    @classmethod
    def of_template(cls, project_id: UUID, template_id: UUID) -> Any:
        """Return the select of a template's versions, for a page of them."""
        return select(cls).where(
            col(cls.project_id) == project_id, col(cls.template_id) == template_id
        )

    @classmethod
    async def find(
        cls, session: AsyncSession, project_id: UUID, template_id: UUID, version: int
    ) -> Self | None:
        query = cls.of_template(project_id, template_id).where(col(cls.version) == version)
        result: Self | None = (await session.exec(query)).first()
        return result
