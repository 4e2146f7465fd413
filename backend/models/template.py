"""A template: text with variables, plus who may send it from where."""

from __future__ import annotations

from typing import Self
from uuid import UUID

from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, TenantRow


class Template(TenantRow, table=True):
    __tablename__ = "templates"

    name: str = Field(max_length=255)
    connector_type: str = Field(max_length=50)
    content: str
    subject: str | None = Field(default=None)
    html: str | None = Field(default=None)
    variables: list[str] = Field(default_factory=list, sa_type=Json)
    variants: JsonObject = Field(default_factory=dict, sa_type=Json)
    access: str = Field(default="secret_only", max_length=20)
    on_uncertain: str = Field(default="hold", max_length=10)
    version: int = Field(default=1)

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID, template_id: UUID) -> Self | None:
        query = select(cls).where(
            col(cls.project_id) == project_id,
            col(cls.id) == template_id,
            col(cls.deleted_at).is_(None),
        )
        return (await session.exec(query)).first()

    @classmethod
    async def list_for_project(cls, session: AsyncSession, project_id: UUID) -> list[Self]:
        query = select(cls).where(col(cls.project_id) == project_id, col(cls.deleted_at).is_(None))
        return list((await session.exec(query.order_by(col(cls.id).desc()))).all())

    @classmethod
    async def page_of_all(
        cls, session: AsyncSession, *, after: UUID | None, most: int
    ) -> list[Self]:
        """Return templates of all projects, oldest first: for the operator."""
        query = select(cls).where(col(cls.deleted_at).is_(None)).order_by(col(cls.id)).limit(most)
        if after is not None:
            query = query.where(col(cls.id) > after)
        return list((await session.exec(query)).all())
