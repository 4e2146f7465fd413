"""Reading messages: for a member of the project, or for its key with `messages:read`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request

from backend import ids
from backend.api.dependencies import MessageId, PageDep, ReadSessionDep
from backend.api.message_access import project_of_key, project_of_message, project_of_user
from backend.api.openapi import error_responses
from backend.api.schemas.base import ConnectorText, InstantText, StatusText, id_text
from backend.api.schemas.messages import MessageDetailBody, MessageListBody
from backend.api.security import CurrentPrincipal
from backend.errors import FieldError, KeyScope, MessageNotFound, ValidationFailed
from backend.services.accounts.access import Action, UserPrincipal
from backend.services.connectors.types import provider_of
from backend.services.reporting.instants import parse_instant
from backend.services.reporting.messages import (
    MessageFilter,
    list_messages,
    message_detail,
)
from backend.services.sending.catalog import CatalogKey

router = APIRouter(prefix="/api/v1/messages", tags=["Messages"])

_Text = Annotated[str | None, Query(max_length=320)]


def _filters(
    *,
    status: Annotated[StatusText | None, Query(description="A status; `pending`: queued or sending")] = None,
    connector: Annotated[
        ConnectorText | None, Query(description="A connector's type or id", examples=["whatsapp"])
    ] = None,
    from_: Annotated[InstantText | None, Query(alias="from", description="ISO 8601", examples=["2024-01-01"])] = None,
    to: Annotated[
        InstantText | None, Query(description="ISO 8601; a date alone includes its whole day", examples=["2024-01-31"])
    ] = None,
    key_id: Annotated[Annotated[str, id_text(ids.KEY)] | None, Query(alias="keyId")] = None,
    template_id: Annotated[Annotated[str, id_text(ids.TEMPLATE)] | None, Query(alias="templateId")] = None,
    campaign_id: Annotated[Annotated[str, id_text(ids.CAMPAIGN)] | None, Query(alias="campaignId")] = None,
    recipient: _Text = None,
    message_id: Annotated[Annotated[str, id_text(ids.MESSAGE)] | None, Query(alias="id")] = None,
    mode: Annotated[Literal["live", "test"] | None, Query()] = None,
) -> MessageFilter:
    return MessageFilter(
        status=status or None,
        connector=_connector(connector) if connector else None,
        from_=parse_instant(from_, field="from") if from_ else None,
        to=parse_instant(to, field="to", end_of_day=True) if to else None,
        key_id=_id(ids.KEY, key_id, "keyId"),
        template_id=_id(ids.TEMPLATE, template_id, "templateId"),
        campaign_id=_id(ids.CAMPAIGN, campaign_id, "campaignId"),
        recipient=(recipient or "").strip() or None,
        id=_id(ids.MESSAGE, message_id, "id"),
        mode=mode,
    )


def _connector(text: str) -> UUID | str:
    if text.startswith(f"{ids.CONNECTOR}_"):
        return _id(ids.CONNECTOR, text, "connector") or text
    return provider_of(text, field="connector").type


def _id(prefix: str, text: str | None, field: str) -> UUID | None:
    if not text:
        return None
    value = ids.decode(prefix, text)
    if value is None:
        message = f"'{text[:80]}' is not an id; it reads {prefix}_ and 26 characters."
        raise ValidationFailed(errors=[FieldError(field, "VALIDATION_ERROR", message)])
    return value


FilterDep = Annotated[MessageFilter, Depends(_filters)]
ProjectIdQuery = Annotated[
    str | None, Query(alias="projectId", description="Required with an access token; a key is its project's")
]


@router.get("", summary="List messages", responses=error_responses(400, 401, 403, 404))
async def list_messages_route(
    *,
    request: Request,
    principal: CurrentPrincipal,
    session: ReadSessionDep,
    filters: FilterDep,
    page: PageDep,
    project_id: ProjectIdQuery = None,
) -> MessageListBody:
    """Newest first. Pass `pagination.nextCursor` as `cursor` to walk on while messages arrive."""
    if isinstance(principal, UserPrincipal):
        readable = await project_of_user(session, principal, project_id)
    else:
        readable = project_of_key(principal, request, project_id)
        filters = within_mode(principal, filters)
    return MessageListBody.of(await list_messages(session, project_id=readable, filters=filters, page=page))


@router.get("/{messageId}", summary="Get a message", responses=error_responses(401, 403, 404))
async def get_message(
    request: Request, message_id: MessageId, principal: CurrentPrincipal, session: ReadSessionDep
) -> MessageDetailBody:
    """With every attempt to hand it over, and every status it took."""
    if isinstance(principal, UserPrincipal):
        project_id = await project_of_message(session, principal, message_id, Action.VIEW_MESSAGES)
        return MessageDetailBody.of_detail(await message_detail(session, project_id=project_id, message_id=message_id))
    readable = project_of_key(principal, request)
    detail = await message_detail(session, project_id=readable, message_id=message_id)
    if principal.mode == "test" and detail.summary.mode != "test":
        raise MessageNotFound
    return MessageDetailBody.of_detail(detail)


def within_mode(key: CatalogKey, filters: MessageFilter) -> MessageFilter:
    """A test key stands in places a live one must not: it sees test messages only."""
    if key.mode != "test":
        return filters
    if filters.mode == "live":
        raise KeyScope(f"Test key '{key.name}' reads test messages only; use a live key.")
    return replace(filters, mode="test")
