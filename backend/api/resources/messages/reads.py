"""Reading messages: for a member of the project, or for its key with `messages:read`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Query
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.api.inputs.access import CurrentRequester, Requester
from backend.api.inputs.bodies import ConnectorText, InstantText, StatusText, id_text
from backend.api.inputs.dependencies import MessageId, PageDep, ReadSessionDep
from backend.api.inputs.filters import message_filter
from backend.api.openapi.document import error_responses
from backend.api.resources.messages.bodies import MessageDetailBody, MessageListBody
from backend.api.resources.routers import api_router
from backend.errors import MessageNotFound
from backend.services.access.access import Access, Action
from backend.services.reporting.messages import (
    MessageFilter,
    find_project_of,
    list_messages,
    message_detail,
)

router = api_router(prefix="/api/v1/messages", tags=["Messages"])

_Text = Annotated[str | None, Query(max_length=320)]


def _filters(
    *,
    status: Annotated[
        StatusText | None, Query(description="A status; `pending`: queued or sending")
    ] = None,
    connector: Annotated[
        ConnectorText | None, Query(description="A connector's type or id", examples=["whatsapp"])
    ] = None,
    from_: Annotated[
        InstantText | None, Query(alias="from", description="ISO 8601", examples=["2024-01-01"])
    ] = None,
    to: Annotated[
        InstantText | None,
        Query(description="ISO 8601; a date alone includes its whole day", examples=["2024-01-31"]),
    ] = None,
    key_id: Annotated[Annotated[str, id_text(ids.KEY)] | None, Query(alias="keyId")] = None,
    template_id: Annotated[
        Annotated[str, id_text(ids.TEMPLATE)] | None, Query(alias="templateId")
    ] = None,
    campaign_id: Annotated[
        Annotated[str, id_text(ids.CAMPAIGN)] | None, Query(alias="campaignId")
    ] = None,
    recipient: _Text = None,
    message_id: Annotated[Annotated[str, id_text(ids.MESSAGE)] | None, Query(alias="id")] = None,
    mode: Annotated[Literal["live", "test"] | None, Query()] = None,
) -> MessageFilter:
    return message_filter(
        status=status,
        connector=connector,
        from_=from_,
        to=to,
        key_id=key_id,
        template_id=template_id,
        campaign_id=campaign_id,
        recipient=recipient,
        message_id=message_id,
        mode=mode,
    )


FilterDep = Annotated[MessageFilter, Depends(_filters)]
ProjectIdQuery = Annotated[
    str | None,
    Query(alias="projectId", description="Required with an access token; a key is its project's"),
]


@router.get("", summary="List messages", responses=error_responses(400, 401, 403, 404))
async def list_messages_route(
    *,
    requester: CurrentRequester,
    session: ReadSessionDep,
    filters: FilterDep,
    page: PageDep,
    project_id: ProjectIdQuery = None,
) -> MessageListBody:
    """Newest first. Pass `pagination.nextCursor` as `cursor` to walk on while messages arrive."""
    access = await requester.access(session, project_id, Action.VIEW_MESSAGES)
    return MessageListBody.of(await list_messages(session, access, filters=filters, page=page))


@router.get("/{messageId}", summary="Get a message", responses=error_responses(401, 403, 404))
async def get_message(
    message_id: MessageId, requester: CurrentRequester, session: ReadSessionDep
) -> MessageDetailBody:
    """With every attempt to hand it over, and every status it took."""
    access = await access_to_message(session, requester, message_id, Action.VIEW_MESSAGES)
    return MessageDetailBody.of_detail(await message_detail(session, access, message_id=message_id))


async def access_to_message(
    session: AsyncSession, requester: Requester, message_id: UUID, action: Action
) -> Access:
    """Raises MessageNotFound, Forbidden, KeyScope or OriginNotAllowed."""
    return await requester.access_to(
        session, partial(find_project_of, message_id=message_id), action, MessageNotFound
    )
