"""Dead letters: messages that were given up after their retries; to be sent once more, or
discarded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.api.inputs.access import CurrentPrincipal
from backend.api.inputs.bodies import ConnectorText, InstantText, decode_cursor, id_text
from backend.api.inputs.dependencies import (
    MessageId,
    PageDep,
    PlatformDep,
    ReadSessionDep,
    SessionDep,
    decoded,
)
from backend.api.inputs.filters import message_filter, storable_text
from backend.api.openapi.document import error_responses
from backend.api.resources.campaigns.access import sender
from backend.api.resources.dead_letters.bodies import (
    Code,
    DeadLetterListBody,
    DiscardAnswer,
    DiscardBody,
    RedriveAnswer,
    RedriveBody,
)
from backend.api.resources.messages.access import project_of_key, project_of_user, resender
from backend.api.resources.messages.reads import ProjectIdQuery, within_mode
from backend.api.resources.messages.requests import answer
from backend.api.resources.messages.send_bodies import ResendAnswer
from backend.api.resources.routers import api_router
from backend.errors import AppError, FieldError, MessageNotFound, ValidationFailed
from backend.services.access import audit
from backend.services.access.access import UserPrincipal
from backend.services.catalog.catalog import CatalogKey
from backend.services.messages import redrive
from backend.services.messages.dead_letters import DeadLetterFilter
from backend.services.messages.redrive import Redrive
from backend.services.policy.admission import note_refusal
from backend.services.reporting.dead_letters import list_dead_letters

router = api_router(prefix="/api/v1/dead-letters", tags=["Dead letters"])


def _filters(
    *,
    connector: Annotated[
        ConnectorText | None, Query(description="A connector's type or id", examples=["whatsapp"])
    ] = None,
    code: Annotated[Code | None, Query()] = None,
    from_: Annotated[
        InstantText | None, Query(alias="from", description="ISO 8601, of acceptance")
    ] = None,
    to: Annotated[
        InstantText | None, Query(description="ISO 8601; a date alone includes its whole day")
    ] = None,
    key_id: Annotated[Annotated[str, id_text(ids.KEY)] | None, Query(alias="keyId")] = None,
    template_id: Annotated[
        Annotated[str, id_text(ids.TEMPLATE)] | None, Query(alias="templateId")
    ] = None,
    campaign_id: Annotated[
        Annotated[str, id_text(ids.CAMPAIGN)] | None, Query(alias="campaignId")
    ] = None,
    recipient: Annotated[str | None, Query(max_length=320)] = None,
    mode: Annotated[Literal["live", "test"] | None, Query()] = None,
) -> DeadLetterFilter:
    messages = message_filter(
        connector=connector,
        from_=from_,
        to=to,
        key_id=key_id,
        template_id=template_id,
        campaign_id=campaign_id,
        recipient=recipient,
        mode=mode,
    )
    return DeadLetterFilter(messages, storable_text("code", code) or None)


@router.get("", summary="List dead letters", responses=error_responses(400, 401, 403, 404))
async def list_route(
    *,
    request: Request,
    principal: CurrentPrincipal,
    session: ReadSessionDep,
    filters: Annotated[DeadLetterFilter, Depends(_filters)],
    page: PageDep,
    project_id: ProjectIdQuery = None,
) -> DeadLetterListBody:
    """Messages that failed because their retries were used up or their connector was gone, the
    newest first.

    What a provider refused for good is none. `error` and `errorCode` say why.
    """
    if isinstance(principal, UserPrincipal):
        readable = await project_of_user(session, principal, project_id)
    else:
        readable = project_of_key(principal, request, project_id)
        filters = _within(principal, filters)
    return DeadLetterListBody.of(
        await list_dead_letters(session, project_id=readable, filters=filters, page=page)
    )


@router.post(
    "/redrive",
    summary="Redrive many dead letters",
    response_model_exclude_none=True,
    responses=error_responses(400, 401, 403, 404, 429, 503),
)
async def redrive_many(
    request: Request,
    body: RedriveBody,
    principal: CurrentPrincipal,
    platform: PlatformDep,
    project_id: ProjectIdQuery = None,
) -> RedriveAnswer:
    """Up to 500 by their ids, or by a filter, the oldest first.

    Each is a new message with `resentFrom`.

    With a filter, go on with `nextCursor` until it is left out. What could not be sent again stays
    a dead letter.
    """
    body.check()
    after = None if body.cursor is None else decode_cursor(body.cursor)
    if body.cursor is not None and after is None:
        message = (
            f"'{body.cursor[:80]}' is not a cursor; pass the last answer's nextCursor as it is."
        )
        raise ValidationFailed(errors=[FieldError("cursor", "VALIDATION_ERROR", message)])
    async with platform.database.session() as session:
        caller = await sender(session, principal, request, project_id=project_id)
    try:
        if body.filter is None:
            done = await redrive.redrive_many(platform.send_path, caller, _message_ids(body))
        else:
            filters = _within(principal, body.filter.filter())
            done = await redrive.redrive_matching(
                platform.send_path, caller, filters, after=after, limit=body.limit
            )
    except AppError as error:
        await note_refusal(platform.send_path, caller, error)
        raise
    if done.results:
        async with platform.database.transaction() as session:
            _note(
                session,
                principal,
                caller.project_id,
                "dead_letters.redriven",
                {**_counts(done), **_chosen(body)},
            )
    return RedriveAnswer.of(done)


@router.post(
    "/discard", summary="Discard many dead letters", responses=error_responses(400, 401, 403, 404)
)
async def discard_many(
    request: Request,
    body: DiscardBody,
    principal: CurrentPrincipal,
    session: SessionDep,
    project_id: ProjectIdQuery = None,
) -> DiscardAnswer:
    """Up to 500 by their ids, or up to 10,000 by a filter.

    They leave the list, and stay failed messages.
    """
    body.check()
    caller = await sender(session, principal, request, project_id=project_id)
    if body.filter is None:
        discarded = await redrive.discard_many(
            session,
            project_id=caller.project_id,
            message_ids=_message_ids(body),
            mode=redrive.mode_of(caller),
        )
    else:
        filters = _within(principal, body.filter.filter())
        discarded = await redrive.discard_matching(
            session, project_id=caller.project_id, filters=filters
        )
    if discarded:
        after = {"discarded": discarded, **_chosen(body)}
        _note(session, principal, caller.project_id, "dead_letters.discarded", after)
    return DiscardAnswer(discarded=discarded)


@router.post(
    "/{messageId}/redrive",
    status_code=202,
    response_model=ResendAnswer,
    summary="Redrive a dead letter",
    responses=error_responses(400, 401, 403, 404, 409, 429, 503),
)
async def redrive_one(
    request: Request, message_id: MessageId, principal: CurrentPrincipal, platform: PlatformDep
) -> Response:
    """A new message with the same content, recipient and ways takes its place.

    Safe to repeat: it is sent once.

    409 `NOT_A_DEAD_LETTER` once it was redriven or discarded.
    """
    caller = await resender(platform, principal, request, message_id)
    try:
        accepted = await redrive.redrive_one(platform.send_path, caller, message_id)
    except AppError as error:
        await note_refusal(platform.send_path, caller, error)
        raise
    return answer(accepted, b',"resentFrom":"%b"' % ids.encode(ids.MESSAGE, message_id).encode())


@router.delete(
    "/{messageId}",
    status_code=204,
    summary="Discard a dead letter",
    responses=error_responses(401, 403, 404, 409),
)
async def discard_one(
    request: Request,
    message_id: MessageId,
    principal: CurrentPrincipal,
    platform: PlatformDep,
    session: SessionDep,
) -> Response:
    """It leaves the list, and stays a failed message."""
    caller = await resender(platform, principal, request, message_id)
    await redrive.discard_one(
        session, project_id=caller.project_id, message_id=message_id, mode=redrive.mode_of(caller)
    )
    after = {"messageId": ids.encode(ids.MESSAGE, message_id)}
    _note(session, principal, caller.project_id, "dead_letters.discarded", after)
    return Response(status_code=204)


def _within(principal: UserPrincipal | CatalogKey, filters: DeadLetterFilter) -> DeadLetterFilter:
    if isinstance(principal, UserPrincipal):
        return filters
    return replace(filters, messages=within_mode(principal, filters.messages))


def _message_ids(body: DiscardBody) -> list[UUID]:
    """Return each once. Raises MessageNotFound for what is no id."""
    return list(
        dict.fromkeys(
            decoded(ids.MESSAGE, text, MessageNotFound) for text in body.message_ids or ()
        )
    )


def _counts(done: Redrive) -> dict[str, int]:
    return {"redriven": done.redriven, "failed": len(done.results) - done.redriven}


def _note(
    session: AsyncSession,
    principal: UserPrincipal | CatalogKey,
    project_id: UUID,
    action: str,
    after: dict[str, Any],
) -> None:
    actor = principal if isinstance(principal, UserPrincipal) else None
    if not isinstance(principal, UserPrincipal):
        after["keyId"] = ids.encode(ids.KEY, principal.id)
    audit.record(session, actor, action, project_id=project_id, after=after)


def _chosen(body: DiscardBody) -> dict[str, Any]:
    """Return what the audit log says of them; recipients do not belong there."""
    if body.filter is None:
        return {}
    return {
        "filter": body.filter.model_dump(by_alias=True, exclude_none=True, exclude={"recipient"})
    }
