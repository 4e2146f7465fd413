"""What routes are handed: the process's platform, sessions, ids from the path, and page
requests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Path, Query, Request
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.api.frame.concurrent_reads import ExportPlaces, ReadPlaces
from backend.api.inputs.bodies import CursorText, decode_cursor
from backend.errors import (
    CampaignNotFound,
    ConnectorNotFound,
    FieldError,
    InvitationNotFound,
    KeyNotFound,
    MessageNotFound,
    NotFound,
    ProjectNotFound,
    RouteNotFound,
    SessionNotFound,
    TemplateNotFound,
    UnsupportedMediaType,
    UserNotFound,
    ValidationFailed,
)
from backend.platform import Platform
from backend.services.lists.paging import PageRequest


async def _platform(request: Request) -> Platform:
    return cast(Platform, request.app.state.platform)


PlatformDep = Annotated[Platform, Depends(_platform)]


async def _transaction(platform: PlatformDep) -> AsyncIterator[AsyncSession]:
    async with platform.database.transaction() as session:
        yield session


async def _reading(request: Request, platform: PlatformDep) -> AsyncIterator[AsyncSession]:
    caller = getattr(
        request.state, "caller", None
    )  # set where the caller is authenticated, which comes first
    places: ReadPlaces = request.app.state.read_places
    async with (
        nullcontext() if caller is None else places.place(caller),
        platform.database.session() as session,
    ):
        yield session


class ExportPlace:
    """The place that an export takes once it knows its project."""

    def __init__(self, places: ExportPlaces) -> None:
        self._places = places
        self._project_id: UUID | None = None

    def take(self, project_id: UUID) -> None:
        """Raises RateLimitExceeded."""
        self._places.take(project_id)
        self._project_id = project_id

    def give_back(self) -> None:
        if self._project_id is not None:
            self._places.give_back(self._project_id)


async def _export_place(request: Request) -> AsyncIterator[ExportPlace]:
    place = ExportPlace(request.app.state.export_places)
    try:
        yield place
    finally:
        place.give_back()


async def refuse_json_dialects(request: Request) -> None:
    """FastAPI reads any `+json` as JSON; a merge patch, say, would be taken for a whole body."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.endswith("+json"):
        raise UnsupportedMediaType(
            f"'{media_type[:80]}' is not read here; send 'Content-Type: application/json'."
        )


# scope="function": committed before the answer is sent; the default commits after it.
SessionDep = Annotated[AsyncSession, Depends(_transaction, scope="function")]
ReadSessionDep = Annotated[AsyncSession, Depends(_reading, scope="function")]
# scope="request": held until the answer has been sent, or broke off.
ExportPlaceDep = Annotated[ExportPlace, Depends(_export_place, scope="request")]


def decoded(prefix: str, text: str, error: type[NotFound]) -> UUID:
    """Return the UUID of a TypeID in a path; what is not one names nothing, so it is a 404."""
    value = ids.decode(prefix, text)
    if value is None:
        raise error(f"{error.title.removesuffix(' does not exist')} '{text[:80]}' does not exist.")
    return value


def _example(prefix: str) -> list[str]:
    return [f"{prefix}_01h455vb4pex5vsknk084sn02q"]


async def _project_id(
    project_id: Annotated[str, Path(alias="projectId", examples=_example(ids.PROJECT))],
) -> UUID:
    return decoded(ids.PROJECT, project_id, ProjectNotFound)


async def _key_id(key_id: Annotated[str, Path(alias="keyId", examples=_example(ids.KEY))]) -> UUID:
    return decoded(ids.KEY, key_id, KeyNotFound)


async def _connector_id(
    connector_id: Annotated[str, Path(alias="connectorId", examples=_example(ids.CONNECTOR))],
) -> UUID:
    return decoded(ids.CONNECTOR, connector_id, ConnectorNotFound)


async def _template_id(
    template_id: Annotated[str, Path(alias="templateId", examples=_example(ids.TEMPLATE))],
) -> UUID:
    return decoded(ids.TEMPLATE, template_id, TemplateNotFound)


async def _route_id(
    route_id: Annotated[str, Path(alias="routeId", examples=_example(ids.ROUTE))],
) -> UUID:
    return decoded(ids.ROUTE, route_id, RouteNotFound)


async def _campaign_id(
    campaign_id: Annotated[str, Path(alias="campaignId", examples=_example(ids.CAMPAIGN))],
) -> UUID:
    return decoded(ids.CAMPAIGN, campaign_id, CampaignNotFound)


async def _message_id(
    message_id: Annotated[str, Path(alias="messageId", examples=_example(ids.MESSAGE))],
) -> UUID:
    return decoded(ids.MESSAGE, message_id, MessageNotFound)


async def _user_id(
    user_id: Annotated[str, Path(alias="userId", examples=_example(ids.USER))],
) -> UUID:
    return decoded(ids.USER, user_id, UserNotFound)


async def _session_id(
    session_id: Annotated[str, Path(alias="sessionId", examples=_example(ids.SESSION))],
) -> UUID:
    return decoded(ids.SESSION, session_id, SessionNotFound)


async def _invitation_id(
    invitation_id: Annotated[str, Path(alias="invitationId", examples=_example(ids.INVITATION))],
) -> UUID:
    return decoded(ids.INVITATION, invitation_id, InvitationNotFound)


# Path parameters: write them as {projectId}, {keyId}, {connectorId}, {templateId}, {campaignId},
# {messageId}, {userId}, {sessionId}, {invitationId}.
ProjectId = Annotated[UUID, Depends(_project_id)]
KeyId = Annotated[UUID, Depends(_key_id)]
ConnectorId = Annotated[UUID, Depends(_connector_id)]
TemplateId = Annotated[UUID, Depends(_template_id)]
RouteId = Annotated[UUID, Depends(_route_id)]
CampaignId = Annotated[UUID, Depends(_campaign_id)]
MessageId = Annotated[UUID, Depends(_message_id)]
UserId = Annotated[UUID, Depends(_user_id)]
SessionId = Annotated[UUID, Depends(_session_id)]
InvitationId = Annotated[UUID, Depends(_invitation_id)]


async def _page_request(
    limit: Annotated[int, Query(ge=1, le=100, description="Rows on a page")] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000, description="Rows to skip")] = 0,
    cursor: Annotated[
        CursorText | None, Query(description="`pagination.nextCursor` of the page before")
    ] = None,
) -> PageRequest:
    after = None
    if cursor is not None and (after := decode_cursor(cursor)) is None:
        message = (
            f"'{cursor[:80]}' is not a cursor; pass the last page's pagination.nextCursor as it is."
        )
        raise ValidationFailed(errors=[FieldError("cursor", "VALIDATION_ERROR", message)])
    return PageRequest(limit=limit, offset=offset, cursor=after)


PageDep = Annotated[PageRequest, Depends(_page_request)]
