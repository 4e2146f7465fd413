"""Bodies of /projects: reference 002's shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StringConstraints, model_validator

from backend import ids
from backend.api.inputs.bodies import (
    WHOLE,
    Instant,
    Pagination,
    RequestBody,
    ResponseBody,
    TimeZone,
)
from backend.errors import ValidationFailed
from backend.models.project import Project
from backend.services.accounts.quiet_hours import check_quiet_hours
from backend.services.lists.paging import Page

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    Field(examples=["My Awesome Project"]),
]
Description = Annotated[str | None, Field(max_length=2000, examples=["Project description"])]


ContentRetention = Annotated[
    Literal["keep", "nothing", "mask", "days"] | None,
    Field(
        description=(
            "What stays of a message's content once nothing is left to do for it. `keep`: all of"
            " it; `nothing`: no content, no metadata, a masked recipient; `mask`: its shape, with"
            " the variables unfilled; `days`: as `nothing`, after `contentRetentionDays`. null: as"
            " the server is set. It takes about two minutes."
        ),
        examples=["days"],
    ),
]
ContentDays = Annotated[
    StrictInt | None,
    Field(ge=1, le=3650, description="With `contentRetention: days`", examples=[30]),
    WHOLE,
]
RetentionDays = Annotated[
    StrictInt | None,
    Field(
        ge=0,
        le=3650,
        description=(
            "Days after which messages are removed; 0: never; null: as the server is set. What"
            " still waits stays until it has ended, and analytics keep their counts."
        ),
        examples=[90],
    ),
    WHOLE,
]


ClockTime = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class QuietHoursBody(RequestBody):
    """From `start` to before `end` on the recipient's clock, past midnight where `end` comes first.

    Messages wait for their end as `scheduled`, those of the priority `high` excepted. Retries are
    not put off.
    """

    start: Annotated[ClockTime, Field(examples=["21:00"])]
    end: Annotated[ClockTime, Field(examples=["08:00"])]
    timezone: Annotated[
        TimeZone | None,
        Field(
            description=(
                "Of recipients whose own is not known: no `timezone` in the send, nor one by the"
                " number"
            )
        ),
    ] = None

    @model_validator(mode="after")
    def _apart(self) -> QuietHoursBody:
        try:
            check_quiet_hours(self.model_dump())
        except ValidationFailed as exc:
            raise ValueError(exc.message) from exc
        return self


QuietHoursField = Annotated[
    QuietHoursBody | None, Field(description="When nothing is sent; null: never")
]


class CreateProject(RequestBody):
    name: Name
    description: Description = None


class UpdateProject(RequestBody):
    """What is left out stays as it is."""

    name: Name | None = Field(default=None)
    description: Description = None
    is_active: StrictBool | None = Field(
        default=None,
        description=(
            "false: it accepts and sends nothing; what waits goes on when it is active again"
        ),
    )
    content_retention: ContentRetention = None
    content_retention_days: ContentDays = None
    retention_days: RetentionDays = None
    quiet_hours: QuietHoursField = None

    def changes(self, *nullable: str) -> dict[str, Any]:
        changes = super().changes(*nullable)
        if isinstance(quiet_hours := changes.get("quiet_hours"), QuietHoursBody):
            changes["quiet_hours"] = quiet_hours.model_dump()
        return changes


class ProjectBody(ResponseBody):
    id: str = Field(examples=["proj_01h455vb4pex5vsknk084sn02q"])
    user_id: str = Field(description="Who made it", examples=["usr_01h455vb4pex5vsknk084sn02q"])
    name: str
    description: str | None
    created_at: Instant
    updated_at: Instant
    is_active: bool
    content_retention: ContentRetention
    content_retention_days: ContentDays
    retention_days: RetentionDays
    quiet_hours: QuietHoursField

    @classmethod
    def of(cls, project: Project) -> ProjectBody:
        return cls(
            id=ids.encode(ids.PROJECT, project.id),
            user_id=ids.encode(ids.USER, project.user_id),
            name=project.name,
            description=project.description,
            created_at=project.created_at,
            updated_at=project.updated_at,
            is_active=project.is_running,
            content_retention=project.content_retention,
            content_retention_days=project.content_retention_days,
            retention_days=project.retention_days,
            quiet_hours=(
                None
                if project.quiet_hours is None
                else QuietHoursBody.model_validate(project.quiet_hours)
            ),
        )


class ProjectList(ResponseBody):
    projects: list[ProjectBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[Project]) -> ProjectList:
        return cls(
            projects=[ProjectBody.of(project) for project in page.items],
            pagination=Pagination.of(page),
        )
