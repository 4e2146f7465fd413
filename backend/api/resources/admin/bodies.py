"""Bodies of /admin: what a server's administrator sees of users and projects."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool

from backend import ids
from backend.api.inputs.bodies import Instant, Pagination, RequestBody, ResponseBody
from backend.api.resources.projects.bodies import ProjectBody
from backend.models.project import Project
from backend.models.user import User
from backend.services.lists.paging import Page

PricePlan = Literal["free", "pro", "enterprise"]


class UpdateUser(RequestBody):
    """What is left out stays as it is."""

    is_active: StrictBool | None = Field(
        default=None,
        description=(
            "false: every log-in is ended and no new one opened; projects without another active"
            " owner stop"
        ),
    )
    is_platform_admin: StrictBool | None = Field(default=None, description="May use /admin")


class UserBody(ResponseBody):
    id: str = Field(examples=["usr_01h455vb4pex5vsknk084sn02q"])
    email: str
    name: str
    is_active: bool
    is_platform_admin: bool
    email_confirmed_at: Instant | None
    last_login: Instant | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, user: User) -> UserBody:
        return cls(
            id=ids.encode(ids.USER, user.id),
            email=user.email,
            name=user.name,
            is_active=user.is_active,
            is_platform_admin=user.is_platform_admin,
            email_confirmed_at=user.email_confirmed_at,
            last_login=user.last_login_at,
            created_at=user.created_at,
            updated_at=user.updated_at,
        )


class UserList(ResponseBody):
    users: list[UserBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[User]) -> UserList:
        return cls(users=[UserBody.of(user) for user in page.items], pagination=Pagination.of(page))


class UpdateAnyProject(RequestBody):
    """What is left out stays as it is."""

    plan: PricePlan | None = None
    is_active: StrictBool | None = Field(
        default=None,
        description=(
            "false: it accepts and sends nothing, and its owners cannot switch it on; what waits"
            " goes on later"
        ),
    )


class AdminProjectBody(ProjectBody):
    plan: str = Field(examples=["enterprise"])

    @classmethod
    def of(cls, project: Project) -> AdminProjectBody:
        return cls(**ProjectBody.of(project).model_dump(), plan=project.plan)


class AdminProjectList(ResponseBody):
    projects: list[AdminProjectBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[Project]) -> AdminProjectList:
        return cls(
            projects=[AdminProjectBody.of(project) for project in page.items],
            pagination=Pagination.of(page),
        )
