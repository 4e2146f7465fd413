"""A project: the tenant. Everything a customer owns hangs below one."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Self
from uuid import UUID

from sqlalchemy import Boolean, literal_column
from sqlalchemy.orm import aliased
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models.base import Json, JsonObject, MutableRow, Timestamp, utc_now
from backend.models.user import User

# Whether a project `p` accepts, sends and feeds: neither deleted nor switched off, nor have all its
# owners been. One that has no owner at all (an import, a test) is nobody's to switch off that way.
IS_OPEN: Final = """
    p.is_active AND p.suspended_at IS NULL AND p.deleted_at IS NULL AND coalesce((
        SELECT bool_or(u.is_active) FROM project_members o JOIN users u ON u.id = o.user_id
        WHERE o.project_id = p.id AND o.role = 'owner'), true)
"""


class Project(MutableRow, table=True):
    __tablename__ = "projects"

    user_id: UUID = Field(foreign_key="users.id", index=True)
    name: str = Field(max_length=255)
    description: str | None = Field(default=None)
    plan: str = Field(default="enterprise", max_length=20)
    is_active: bool = True
    # Set by the server's administrator, which no owner can undo.
    suspended_at: datetime | None = Field(default=None, sa_type=Timestamp)
    deleted_at: datetime | None = Field(default=None, sa_type=Timestamp)
    # None: as the server's settings say.
    content_retention: str | None = Field(
        default=None, max_length=10
    )  # keep | nothing | mask | days
    content_retention_days: int | None = None
    retention_days: int | None = None  # 0: forever
    # {start, end: "HH:MM", timezone: of recipients whose own is not known | None: UTC}
    quiet_hours: JsonObject | None = Field(default=None, sa_type=Json)

    @property
    def is_running(self) -> bool:
        """Neither its owners nor the server's administrator have switched it off."""
        return self.is_active and self.suspended_at is None

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID) -> Self | None:
        query = select(cls).where(col(cls.id) == project_id, col(cls.deleted_at).is_(None))
        return (await session.exec(query)).first()

    @classmethod
    async def find_open(cls, session: AsyncSession, project_id: UUID) -> tuple[Self, bool] | None:
        """Return the project, and whether it accepts and sends; None: there is none, or it was
        deleted.
        """
        p = aliased(cls, name="p")
        query = select(p, literal_column(IS_OPEN, Boolean)).where(
            col(p.id) == project_id, col(p.deleted_at).is_(None)
        )
        row = (await session.exec(query)).first()
        return (row[0], bool(row[1])) if row is not None else None

    @classmethod
    async def lock(cls, session: AsyncSession, project_id: UUID) -> bool:
        """Wait for who else holds it; rows that point at the project may still be inserted.

        False: there is none.
        """
        query = select(cls.id).where(col(cls.id) == project_id).with_for_update(key_share=True)
        return (await session.exec(query)).first() is not None

    @classmethod
    async def list_for_member(cls, session: AsyncSession, user_id: UUID) -> list[Self]:
        """The projects this user is a member of, oldest first."""
        query = (
            select(cls)
            .join(ProjectMember, col(ProjectMember.project_id) == col(cls.id))
            .where(col(ProjectMember.user_id) == user_id, col(cls.deleted_at).is_(None))
        )
        return list((await session.exec(query.order_by(col(cls.id)))).all())


class ProjectMember(SQLModel, table=True):
    """Who may do what in a project: role is owner, admin, developer or viewer."""

    __tablename__ = "project_members"

    project_id: UUID = Field(foreign_key="projects.id", primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", primary_key=True, index=True)
    role: str = Field(default="owner", max_length=20)
    created_at: datetime = Field(default_factory=utc_now, sa_type=Timestamp)
    updated_at: datetime = Field(
        default_factory=utc_now, sa_type=Timestamp, sa_column_kwargs={"onupdate": utc_now}
    )

    @classmethod
    async def find(cls, session: AsyncSession, project_id: UUID, user_id: UUID) -> Self | None:
        return await session.get(cls, (project_id, user_id))

    @classmethod
    async def owner_addresses(cls, session: AsyncSession, project_id: UUID) -> list[str]:
        """The e-mail addresses of the project's owners."""
        query = (
            select(User.email)
            .join(cls, col(cls.user_id) == col(User.id))
            .where(col(cls.project_id) == project_id, col(cls.role) == "owner")
        )
        return list((await session.exec(query.order_by(col(User.email)))).all())
