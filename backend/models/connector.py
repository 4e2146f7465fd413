"""A connector: a project's account at a provider, its credentials encrypted."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, TenantRow, Timestamp


class Connector(TenantRow, table=True):
    __tablename__ = "connectors"
    __table_args__ = (
        Index(
            "uq_connectors_default",
            "project_id",
            "type",
            unique=True,
            postgresql_where=text("is_default AND deleted_at IS NULL"),
        ),
    )

    type: str = Field(max_length=50)
    name: str = Field(max_length=255)
    credentials_encrypted: str
    config: JsonObject = Field(default_factory=dict, sa_type=Json)
    is_default: bool = False
    # Set when the provider refused the credentials: messages wait until a test or new ones clear it.
    broken_at: datetime | None = Field(default=None, sa_type=Timestamp)
    broken_reason: str | None = Field(default=None)
    last_tested_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID, connector_id: UUID) -> Self | None:
        query = select(cls).where(
            col(cls.project_id) == project_id, col(cls.id) == connector_id, col(cls.deleted_at).is_(None)
        )
        return (await session.exec(query)).first()

    @classmethod
    async def find_default(cls, session: AsyncSession, project_id: UUID, type_: str) -> Self | None:
        """The project's default of a type; where none is marked, its oldest active one."""
        query = select(cls).where(
            col(cls.project_id) == project_id, col(cls.type) == type_, col(cls.deleted_at).is_(None)
        )
        order = (col(cls.is_default).desc(), col(cls.is_active).desc(), col(cls.id))
        return (await session.exec(query.order_by(*order).limit(1))).first()

    @classmethod
    async def list_for_project(cls, session: AsyncSession, project_id: UUID) -> list[Self]:
        query = select(cls).where(col(cls.project_id) == project_id, col(cls.deleted_at).is_(None))
        return list((await session.exec(query.order_by(col(cls.id).desc()))).all())

    @classmethod
    async def find_many(cls, session: AsyncSession, ids: set[UUID]) -> list[Self]:
        """Across tenants, deleted ones too: the delivery engine asks for what its claims name."""
        return list((await session.exec(select(cls).where(col(cls.id).in_(ids)))).all())
