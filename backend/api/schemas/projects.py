"""Bodies of /projects: reference 002's shapes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from backend import ids
from backend.api.schemas.base import Instant, Pagination, RequestBody, ResponseBody
from backend.models.project import Project
from backend.services.paging import Page

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), Field(examples=["My Awesome Project"])
]
Description = Annotated[str | None, Field(max_length=2000, examples=["Project description"])]


class CreateProject(RequestBody):
    name: Name
    description: Description = None


class UpdateProject(RequestBody):
    """What is left out stays as it is."""

    name: Name | None = Field(default=None)
    description: Description = None
    is_active: bool | None = Field(default=None, description="false: the project's keys are refused")


class ProjectBody(ResponseBody):
    id: str = Field(examples=["proj_01h455vb4pex5vsknk084sn02q"])
    user_id: str = Field(description="Who made it", examples=["usr_01h455vb4pex5vsknk084sn02q"])
    name: str
    description: str | None
    created_at: Instant
    updated_at: Instant
    is_active: bool

    @classmethod
    def of(cls, project: Project) -> ProjectBody:
        return cls(
            id=ids.encode(ids.PROJECT, project.id),
            user_id=ids.encode(ids.USER, project.user_id),
            name=project.name,
            description=project.description,
            created_at=project.created_at,
            updated_at=project.updated_at,
            is_active=project.is_active,
        )


class ProjectList(ResponseBody):
    projects: list[ProjectBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[Project]) -> ProjectList:
        return cls(projects=[ProjectBody.of(project) for project in page.items], pagination=Pagination.of(page))
