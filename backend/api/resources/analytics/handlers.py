"""Analytics: for a member of the project, or for its key with `stats:read`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Depends, Query, Request

from backend import ids
from backend.api.inputs.access import CurrentPrincipal, check_origin, require_scope
from backend.api.inputs.bodies import ConnectorText, InstantText
from backend.api.inputs.dependencies import ReadSessionDep, decoded
from backend.api.openapi.document import error_responses
from backend.api.resources.analytics.bodies import (
    ConnectorStatisticsBody,
    ConnectorStatisticsList,
    MessageStatisticsBody,
    PeriodBody,
    StatsBody,
    UsageBody,
)
from backend.api.resources.routers import api_router
from backend.errors import FieldError, KeyScope, ProjectNotFound, ValidationFailed
from backend.provider_types import provider_of
from backend.services.access.access import Action, UserPrincipal, require_project
from backend.services.reporting import analytics
from backend.services.reporting.periods import Period, parse_period, parse_zone
from backend.services.reporting.rollups import Scope
from backend.services.routing.catalog import CatalogKey

router = api_router(prefix="/api/v1", tags=["Analytics"])

_ERRORS = error_responses(400, 401, 403, 404)
_From = Annotated[
    InstantText | None,
    Query(
        alias="from",
        description="A date or date-time; without it, 30 days before `to`",
        examples=["2024-01-01"],
    ),
]
_To = Annotated[
    InstantText | None,
    Query(
        description="A date (its whole day) or date-time; without it, now", examples=["2024-01-31"]
    ),
]
_Zone = Annotated[
    str, Query(max_length=60, description="IANA time zone of the days", examples=["Europe/Berlin"])
]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks, and whose messages they may count. `user_id` is None for a key."""

    scope: Scope
    user_id: UUID | None


async def _reader(
    *,
    request: Request,
    principal: CurrentPrincipal,
    session: ReadSessionDep,
    project_id: Annotated[
        str | None,
        Query(
            alias="projectId", description="Required with an access token; a key is its project's"
        ),
    ] = None,
    connector: Annotated[
        ConnectorText | None,
        Query(max_length=80, description="A connector's type or id", examples=["whatsapp"]),
    ] = None,
    mode: Annotated[Literal["live", "test"] | None, Query(description="Without it, both")] = None,
) -> Reader:
    wanted = _connector(connector) if connector else None
    if isinstance(principal, UserPrincipal):
        if not project_id:
            message = (
                'The query parameter "projectId" is missing; add it, or use an API key of the'
                " project."
            )
            raise ValidationFailed(
                errors=[FieldError("projectId", "MISSING_REQUIRED_FIELD", message)]
            )
        own = decoded(ids.PROJECT, project_id, ProjectNotFound)
        await require_project(session, principal, own, Action.VIEW_MESSAGES)
        return Reader(Scope(own, mode, wanted), principal.user_id)
    check_origin(principal, request.headers.get("origin"))
    require_scope(principal, "stats:read")
    if project_id and decoded(ids.PROJECT, project_id, ProjectNotFound) != principal.project_id:
        raise ProjectNotFound
    return Reader(Scope(principal.project_id, _mode_of(principal, mode), wanted), None)


def _connector(text: str) -> UUID | str:
    if not text.startswith(f"{ids.CONNECTOR}_"):
        return provider_of(text, field="connector").type
    value = ids.decode(ids.CONNECTOR, text)
    if value is None:
        message = f"'{text[:80]}' is not an id; it reads {ids.CONNECTOR}_ and 26 characters."
        raise ValidationFailed(errors=[FieldError("connector", "VALIDATION_ERROR", message)])
    return value


def _mode_of(key: CatalogKey, mode: str | None) -> str | None:
    """A test key stands in places a live one must not: it counts test messages only."""
    if key.mode != "test":
        return mode
    if mode == "live":
        raise KeyScope(f"Test key '{key.name}' counts test messages only; use a live key.")
    return "test"


async def _zone(timezone: _Zone = "UTC") -> ZoneInfo:
    return parse_zone(timezone)


ReaderDep = Annotated[Reader, Depends(_reader, scope="function")]
ZoneDep = Annotated[ZoneInfo, Depends(_zone)]


async def _period(zone: ZoneDep, from_: _From = None, to: _To = None) -> Period:
    return parse_period(from_ or None, to or None, zone=zone, now=datetime.now(UTC))


PeriodDep = Annotated[Period, Depends(_period)]


@router.get("/analytics/messages", summary="Message statistics", responses=_ERRORS)
async def message_statistics(
    reader: ReaderDep,
    session: ReadSessionDep,
    period: PeriodDep,
    interval: Annotated[
        Literal["hour", "day"], Query(description="`hour` adds byHour; 32 days at most")
    ] = "day",
) -> MessageStatisticsBody:
    """What became of the messages accepted in the period, by connector and day, how fast, and why
    some failed.
    """
    statistics = await analytics.message_statistics(
        session, scope=reader.scope, period=period, interval=interval
    )
    return MessageStatisticsBody.of(statistics, interval)


@router.get("/analytics/usage", summary="Usage", responses=_ERRORS)
async def usage(reader: ReaderDep, session: ReadSessionDep, period: PeriodDep) -> UsageBody:
    """How much is sent, and through which connectors."""
    return UsageBody.of(
        await analytics.usage(session, scope=reader.scope, period=period, user_id=reader.user_id)
    )


@router.get("/analytics/connectors", summary="Connector statistics", responses=_ERRORS)
async def connector_statistics(
    reader: ReaderDep, session: ReadSessionDep, period: PeriodDep
) -> ConnectorStatisticsList:
    """Each connector's numbers; deleted ones too, as long as they have messages in the period."""
    statistics = await analytics.connector_statistics(session, scope=reader.scope, period=period)
    return ConnectorStatisticsList(
        period=PeriodBody.of(period),
        connectors=[ConnectorStatisticsBody.of_connector(one) for one in statistics],
    )


@router.get("/stats", summary="Sent and received", responses=_ERRORS)
async def stats(
    reader: ReaderDep,
    session: ReadSessionDep,
    zone: ZoneDep,
    start_date: Annotated[
        InstantText | None, Query(alias="startDate", examples=["2024-01-01"])
    ] = None,
    end_date: Annotated[InstantText | None, Query(alias="endDate", examples=["2024-12-31"])] = None,
) -> StatsBody:
    """Today, this week, this month and in all, in the time zone. The dates bound `total` only."""
    now = datetime.now(UTC)
    within = None
    if start_date or end_date:
        names = ("startDate", "endDate")
        within = parse_period(
            start_date or "2000-01-01", end_date or None, zone=zone, now=now, names=names
        ).span
    return StatsBody.of(
        await analytics.sent_counts(session, scope=reader.scope, zone=zone, now=now, within=within)
    )
