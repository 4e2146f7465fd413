"""Dead letters: messages that were given up after their retries; to be sent again, or
discarded.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Query, Response

from backend import ids
from backend.api.inputs.access import CurrentRequester
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
from backend.api.resources.dead_letters.bodies import (
    Code,
    DeadLetterListBody,
    DiscardAnswer,
    DiscardBody,
    RedriveAnswer,
    RedriveBody,
)
from backend.api.resources.messages.reads import ProjectIdQuery, access_to_message
from backend.api.resources.messages.requests import answer, resender
from backend.api.resources.messages.send_bodies import ResendAnswer
from backend.api.resources.routers import api_router
from backend.errors import AppError, FieldError, MessageNotFound, ValidationFailed
from backend.services.access.access import Action
from backend.services.messages import redrive
from backend.services.messages.dead_letters import DeadLetterFilter
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
    requester: CurrentRequester,
    session: ReadSessionDep,
    filters: Annotated[DeadLetterFilter, Depends(_filters)],
    page: PageDep,
    project_id: ProjectIdQuery = None,
) -> DeadLetterListBody:
    """Messages that failed because their retries were used up or their connector was gone, the
    newest first.

    What a provider refused for good is none. `error` and `errorCode` say why.
    """
    access = await requester.access(session, project_id, Action.VIEW_MESSAGES)
    return DeadLetterListBody.of(
        await list_dead_letters(session, access, filters=filters, page=page)
    )


@router.post(
    "/redrive",
    summary="Redrive many dead letters",
    response_model_exclude_none=True,
    responses=error_responses(400, 401, 403, 404, 429, 503),
)
async def redrive_many(
    body: RedriveBody,
    requester: CurrentRequester,
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
        access = await requester.access(session, project_id, Action.SEND_MESSAGES)
    sender = requester.sender(access)
    try:
        if body.filter is None:
            redriven = await redrive.redrive_many(platform.send_path, sender, _message_ids(body))
        else:
            redriven = await redrive.redrive_matching(
                platform.send_path, sender, body.filter.filter(), after=after, limit=body.limit
            )
    except AppError as error:
        await note_refusal(platform.send_path, sender, error)
        raise
    return RedriveAnswer.of(redriven)


@router.post(
    "/discard", summary="Discard many dead letters", responses=error_responses(400, 401, 403, 404)
)
async def discard_many(
    body: DiscardBody,
    requester: CurrentRequester,
    session: SessionDep,
    project_id: ProjectIdQuery = None,
) -> DiscardAnswer:
    """Up to 500 by their ids, or up to 10,000 by a filter.

    They leave the list, and stay failed messages.
    """
    body.check()
    access = await requester.access(session, project_id, Action.SEND_MESSAGES)
    if body.filter is None:
        discarded = await redrive.discard_many(session, access, message_ids=_message_ids(body))
    else:
        discarded = await redrive.discard_matching(session, access, filters=body.filter.filter())
    return DiscardAnswer(discarded=discarded)


@router.post(
    "/{messageId}/redrive",
    status_code=202,
    response_model=ResendAnswer,
    summary="Redrive a dead letter",
    responses=error_responses(400, 401, 403, 404, 409, 429, 503),
)
async def redrive_one(
    message_id: MessageId, requester: CurrentRequester, platform: PlatformDep
) -> Response:
    """A new message with the same content, recipient and ways takes its place.

    Safe to repeat: it is sent once.

    409 `NOT_A_DEAD_LETTER` once it was redriven or discarded.
    """
    async with platform.database.session() as session:
        access = await access_to_message(session, requester, message_id, Action.SEND_MESSAGES)
        sender = await resender(session, requester, access, message_id)
    try:
        accepted = await redrive.redrive_one(platform.send_path, sender, message_id)
    except AppError as error:
        await note_refusal(platform.send_path, sender, error)
        raise
    return answer(accepted, b',"resentFrom":"%b"' % ids.encode(ids.MESSAGE, message_id).encode())


@router.delete(
    "/{messageId}",
    status_code=204,
    summary="Discard a dead letter",
    responses=error_responses(401, 403, 404, 409),
)
async def discard_one(
    message_id: MessageId, requester: CurrentRequester, session: SessionDep
) -> Response:
    """It leaves the list, and stays a failed message."""
    access = await access_to_message(session, requester, message_id, Action.SEND_MESSAGES)
    await redrive.discard_one(session, access, message_id=message_id)
    return Response(status_code=204)


def _message_ids(body: DiscardBody) -> list[UUID]:
    """Return each once. Raises MessageNotFound for what is no id."""
    return list(
        dict.fromkeys(
            decoded(ids.MESSAGE, text, MessageNotFound) for text in body.message_ids or ()
        )
    )
