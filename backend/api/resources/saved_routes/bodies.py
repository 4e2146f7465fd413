"""Bodies of saved routes."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from backend import ids
from backend.api.inputs.bodies import WHOLE, Instant, Pagination, RequestBody, ResponseBody
from backend.errors import ConnectorNotFound, FieldError, ValidationFailed
from backend.models import Route
from backend.services.lists.paging import Page
from backend.services.routing.saved_routes import LONGEST_FALLBACK_S, MOST_STEPS, NewRoute
from backend.services.templates.channels import channel_names

_ONE_CHANNEL: Final[JsonDict] = {"enum": [*channel_names()]}
_ONE_OF_TWO: Final[JsonDict] = {"oneOf": [{"required": ["channel"]}, {"required": ["connectorId"]}]}

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    Field(examples=["urgent"]),
]
FallbackAfterS = Annotated[
    int,
    Field(
        ge=1,
        le=LONGEST_FALLBACK_S,
        strict=True,
        description=(
            "Seconds that a step may take to deliver before the next one is tried; null: only"
            " failures count"
        ),
        examples=[60],
    ),
    WHOLE,
]


class StepBody(RequestBody):
    """A channel (the project's pool or default of its type), or one connector."""

    model_config = ConfigDict(json_schema_extra=_ONE_OF_TWO)

    channel: (
        Annotated[str, Field(max_length=50, examples=["sms"], json_schema_extra=_ONE_CHANNEL)]
        | None
    ) = None
    connector_id: (
        Annotated[str, Field(max_length=64, examples=["conn_01h455vb4pex5vsknk084sn02q"])] | None
    ) = None

    def step(self, index: int) -> dict[str, str]:
        """Return the step as the service takes it. Raises ValidationFailed or ConnectorNotFound."""
        if (self.channel is None) == (self.connector_id is None):
            message = f'Step {index + 1} is one of both: Name a "channel" or a "connectorId".'
            raise ValidationFailed(
                errors=[FieldError(f"steps[{index}]", "VALIDATION_ERROR", message)]
            )
        if self.connector_id is None:
            return {"channel": self.channel or ""}
        connector_id = ids.decode(ids.CONNECTOR, self.connector_id)
        if connector_id is None:
            message = f"There is no connector '{self.connector_id}' in this project."
            raise ConnectorNotFound(
                message,
                errors=[FieldError(f"steps[{index}].connectorId", ConnectorNotFound.code, message)],
            )
        return {"connectorId": str(connector_id)}


RouteSteps = Annotated[
    list[StepBody],
    Field(
        min_length=1,
        max_length=MOST_STEPS,
        description="Tried in this order",
        examples=[[{"channel": "whatsapp"}, {"channel": "sms"}]],
        json_schema_extra={"uniqueItems": True},
    ),
]


class CreateRouteBody(RequestBody):
    name: Name
    steps: RouteSteps
    fallback_after_s: FallbackAfterS | None = None

    def to_new_route(self) -> NewRoute:
        return NewRoute(self.name, _plain(self.steps), self.fallback_after_s)


class UpdateRouteBody(RequestBody):
    """Only what is sent changes; `fallbackAfterS: null` waits for failures only."""

    name: Name | None = None
    steps: RouteSteps | None = None
    fallback_after_s: FallbackAfterS | None = None

    def route_changes(self) -> dict[str, Any]:
        changes = self.changes("fallback_after_s")
        return {**changes, "steps": _plain(self.steps)} if self.steps is not None else changes


class RouteStepBody(ResponseBody):
    """One of both is set."""

    channel: str | None = Field(default=None, examples=["sms"])
    connector_id: str | None = Field(default=None, examples=["conn_01h455vb4pex5vsknk084sn02q"])


class RouteBody(ResponseBody):
    id: str = Field(examples=["rte_01h455vb4pex5vsknk084sn02q"])
    project_id: str = Field(examples=["proj_01h455vb4pex5vsknk084sn02q"])
    name: str = Field(examples=["urgent"])
    steps: list[RouteStepBody]
    fallback_after_s: int | None = Field(examples=[60])
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, route: Route) -> RouteBody:
        return cls(
            id=ids.encode(ids.ROUTE, route.id),
            project_id=ids.encode(ids.PROJECT, route.project_id),
            name=route.name,
            steps=[_shown(step) for step in route.steps],
            fallback_after_s=route.fallback_after_s,
            created_at=route.created_at,
            updated_at=route.updated_at,
        )


class RouteListBody(ResponseBody):
    routes: list[RouteBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[Route]) -> RouteListBody:
        return cls(
            routes=[RouteBody.of(item) for item in page.items], pagination=Pagination.of(page)
        )


def _plain(steps: list[StepBody]) -> list[dict[str, str]]:
    return [step.step(index) for index, step in enumerate(steps)]


def _shown(step: dict[str, str]) -> RouteStepBody:
    if "channel" in step:
        return RouteStepBody(channel=step["channel"])
    return RouteStepBody(connector_id=ids.encode(ids.CONNECTOR, UUID(step["connectorId"])))
