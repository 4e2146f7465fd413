"""A connector: a project's account at a provider, its credentials encrypted."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple, Self
from uuid import UUID

from sqlalchemy import Boolean, Index, SmallInteger, literal_column, text
from sqlalchemy.orm import aliased
from sqlmodel import Field, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, TenantRow, Timestamp, utc_now
from backend.models.project import IS_OPEN, Project

# Nothing can be sent through such a connector now; its messages wait.
UNUSABLE: Final = "NOT is_active OR broken_at IS NOT NULL OR circuit_opened_at IS NOT NULL"
LONGEST_RETRY_S: Final = 30 * 24 * 3600.0


class ForSending(NamedTuple):
    """A connector, and whether its project may send (models/project.py)."""

    connector: Connector
    is_project_deleted: bool
    is_project_open: bool


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
        Index(
            "ix_connectors_unusable",
            "id",
            postgresql_where=text(f"deleted_at IS NULL AND ({UNUSABLE})"),
        ),
    )

    type: str = Field(max_length=50)
    name: str = Field(max_length=255)
    credentials_encrypted: str
    config: JsonObject = Field(default_factory=dict, sa_type=Json)
    is_default: bool = False
    # Its share of the sends that name only the type; 0: only when the others cannot. None: not in
    # the type's pool.
    weight: int | None = Field(default=None, sa_type=SmallInteger)
    # Set when the provider refused the credentials: messages wait until a test or new ones clear
    # it.
    broken_at: datetime | None = Field(default=None, sa_type=Timestamp)
    broken_reason: str | None = Field(default=None)
    # Set while the circuit breaker keeps messages back; probed with one message from
    # `circuit_probe_at` on.
    circuit_opened_at: datetime | None = Field(default=None, sa_type=Timestamp)
    circuit_reason: str | None = Field(default=None)
    circuit_probe_at: datetime | None = Field(default=None, sa_type=Timestamp)
    # When a callback of this connector was verified first: from then on its receipts are known to
    # arrive.
    callback_verified_at: datetime | None = Field(default=None, sa_type=Timestamp)
    last_tested_at: datetime | None = Field(default=None, sa_type=Timestamp)

    @property
    def is_healthy(self) -> bool:
        """Its credentials are not refused, and its circuit is closed or due for its probe."""
        if self.broken_at is not None:
            return False
        return self.circuit_opened_at is None or (self.circuit_probe_at or utc_now()) <= utc_now()

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID, connector_id: UUID) -> Self | None:
        query = select(cls).where(
            col(cls.project_id) == project_id,
            col(cls.id) == connector_id,
            col(cls.deleted_at).is_(None),
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
    async def pool(cls, session: AsyncSession, project_id: UUID, type_: str) -> list[Self]:
        """Active connectors of a type that have a weight, the heaviest first."""
        query = select(cls).where(
            col(cls.project_id) == project_id,
            col(cls.type) == type_,
            col(cls.weight).is_not(None),
            col(cls.is_active),
            col(cls.deleted_at).is_(None),
        )
        return list((await session.exec(query.order_by(col(cls.weight).desc(), col(cls.id)))).all())

    @classmethod
    async def list_for_project(cls, session: AsyncSession, project_id: UUID) -> list[Self]:
        query = select(cls).where(col(cls.project_id) == project_id, col(cls.deleted_at).is_(None))
        return list((await session.exec(query.order_by(col(cls.id).desc()))).all())

    @classmethod
    async def find_for_sending(cls, session: AsyncSession, connector_id: UUID) -> ForSending | None:
        """Across tenants, deleted ones too, with what its project lets it do."""
        p = aliased(Project, name="p")
        query = (
            select(cls, col(p.deleted_at), literal_column(IS_OPEN, Boolean))
            .join(p, col(p.id) == col(cls.project_id))
            .where(col(cls.id) == connector_id)
        )
        row = (await session.exec(query)).first()
        if row is None:
            return None
        connector, deleted_at, is_open = row
        return ForSending(
            connector, is_project_deleted=deleted_at is not None, is_project_open=bool(is_open)
        )

    @classmethod
    async def find_many(cls, session: AsyncSession, ids: set[UUID]) -> list[Self]:
        """Across tenants, deleted ones too: the delivery engine asks for what its claims name."""
        return list((await session.exec(select(cls).where(col(cls.id).in_(ids)))).all())
