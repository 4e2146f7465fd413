"""A route: channels and connectors that a project tries one after the other, under a name."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, MutableRow, Timestamp


class Route(MutableRow, table=True):
    __tablename__ = "routes"
    __table_args__ = (
        Index(
            "uq_routes_name",
            "project_id",
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    project_id: UUID = Field(foreign_key="projects.id")
    name: str = Field(max_length=100)
    # Each {channel} or {connectorId: a UUID}, in the order in which they are tried.
    steps: list[dict[str, str]] = Field(sa_type=Json)
    fallback_after_s: int | None = Field(default=None)
    deleted_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID, route_id: UUID) -> Self | None:
        query = select(cls).where(
            col(cls.project_id) == project_id,
            col(cls.id) == route_id,
            col(cls.deleted_at).is_(None),
        )
        return (await session.exec(query)).first()

    @classmethod
    async def find_named(cls, session: AsyncSession, project_id: UUID, name: str) -> Self | None:
        query = select(cls).where(
            col(cls.project_id) == project_id, col(cls.name) == name, col(cls.deleted_at).is_(None)
        )
        return (await session.exec(query)).first()
