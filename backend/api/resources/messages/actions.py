"""Send many messages, preview one, and cancel or resend an accepted one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from fastapi import Request, Response

from backend import ids
from backend.api.inputs.access import CurrentRequester, bearer_token, check_origin
from backend.api.inputs.dependencies import MessageId, PlatformDep, SessionDep
from backend.api.openapi.document import error_responses
from backend.api.resources.messages.bodies import MessagePreviewBody
from backend.api.resources.messages.reads import access_to_message
from backend.api.resources.messages.requests import (
    answer,
    check_project,
    idempotency_key,
    key_scope,
    limit_headers,
    parse_batch,
    parse_object,
    read_body,
    recipient_of,
    resender,
    send_request,
    written_key,
)
from backend.api.resources.messages.send_bodies import (
    IDEMPOTENCY_PARAMETER,
    BatchAnswer,
    BatchBody,
    CancelAnswer,
    PreviewSendBody,
    ResendAnswer,
    SendBody,
    send_operation,
)
from backend.api.resources.routers import api_router
from backend.errors import AppError
from backend.field_error import MOST_ERRORS
from backend.ledger.idempotency import IdempotencyKey
from backend.services.access.access import Action
from backend.services.messages.actions import cancel_message, resend_message
from backend.services.policy.admission import note_refusal
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.sending.accept import Acceptance
from backend.services.sending.batch import accept_batch
from backend.services.sending.preview import preview_message

router = api_router(prefix="/api/v1/messages", tags=["Messages"])

_BATCH_ROUTE: Final = "POST /messages/batch"
_RESEND_ROUTE: Final = "POST /messages/resend"


@router.post(
    "/batch",
    status_code=202,
    response_model=BatchAnswer,
    response_model_exclude_none=True,
    summary="Send many messages",
    openapi_extra=send_operation(BatchBody),
    responses={
        200: {"model": BatchAnswer, "description": "No message was accepted"},
        **error_responses(400, 401, 403, 413, 415, 422, 429, 503),
    },
)
async def send_batch(request: Request, platform: PlatformDep) -> Response:
    """Up to 500, each with its own result.

    An Idempotency-Key covers the whole batch, so repeating it is safe.
    """
    key = await platform.catalog.key(bearer_token(request))
    origin = request.headers.get("origin")
    sender = Sender.of_key(key, origin)
    try:
        check_origin(key, origin)
        body = await read_body(request)
        batch = parse_batch(body)
        idempotency = idempotency_key(request, sender, _BATCH_ROUTE, body)
        requests = [_item(sender, fields) for fields in batch.messages]
        return _batch_answer(
            await accept_batch(platform.send_path, sender, requests, idempotency=idempotency)
        )
    except AppError as error:
        await note_refusal(platform.send_path, sender, error)
        raise


def _item(sender: Sender, fields: dict[str, Any]) -> Callable[[], SendRequest]:
    def request() -> SendRequest:
        body = parse_object(SendBody, fields)
        check_project(sender, body.project_id)
        return send_request(body, recipient_of(body), body.send_token)

    return request


def _batch_answer(results: list[Acceptance | AppError]) -> Response:
    accepted = [result for result in results if isinstance(result, Acceptance)]
    headers = limit_headers(accepted[-1]) if accepted else {}
    headers.pop("Idempotency-Replayed", None)
    room = _ErrorRoom()
    if accepted and all(result.is_replay for result in accepted):
        headers["Idempotency-Replayed"] = "true"
    return Response(
        orjson.dumps(
            {
                "results": [
                    _batch_result(index, result, room) for index, result in enumerate(results)
                ],
                "accepted": len(accepted),
                "rejected": len(results) - len(accepted),
            },
            default=str,
        ),
        status_code=202 if accepted else 200,
        headers=headers,
        media_type="application/json",
    )


class _ErrorRoom:
    """Limits the field errors in a batch's answer to MOST_ERRORS.

    Each message keeps at least its first one.
    """

    def __init__(self) -> None:
        self._left = MOST_ERRORS

    def details(self, error: AppError) -> dict[str, Any]:
        most = max(1, self._left)
        self._left -= min(most, len(error.errors))
        if len(error.errors) <= most:
            return error.details
        more = error.details.get("moreErrors", 0) + len(error.errors) - most
        return {**error.details, "errors": error.details["errors"][:most], "moreErrors": more}


def _batch_result(index: int, result: Acceptance | AppError, room: _ErrorRoom) -> dict[str, Any]:
    if isinstance(result, AppError):
        return {
            "index": index,
            "error": result.message,
            "code": result.error_code,
            "details": room.details(result),
        }
    return {
        "index": index,
        "messageId": ids.encode(ids.MESSAGE, result.message_id),
        "status": result.status,
    }


@router.post("/preview", summary="Preview a message", responses=error_responses(400, 401, 403, 404))
async def preview(
    body: PreviewSendBody, requester: CurrentRequester, platform: PlatformDep
) -> MessagePreviewBody:
    """What `POST /messages` would send, without sending it.

    With an access token, name the `projectId`.
    """
    async with platform.database.session() as session:
        access = await requester.access(session, body.project_id, Action.SEND_MESSAGES)
    sender = requester.sender(access)
    return MessagePreviewBody.of_preview(
        await preview_message(platform.send_path, sender, send_request(body, body.to or ""))
    )


@router.post(
    "/{messageId}/cancel", summary="Cancel a message", responses=error_responses(401, 403, 404, 409)
)
async def cancel(
    message_id: MessageId, requester: CurrentRequester, session: SessionDep
) -> CancelAnswer:
    """Only while it waits. Once a worker has it: 409 `MESSAGE_NOT_CANCELABLE`, with its status."""
    access = await access_to_message(session, requester, message_id, Action.SEND_MESSAGES)
    await cancel_message(session, access, message_id=message_id)
    return CancelAnswer(message_id=ids.encode(ids.MESSAGE, message_id))


@router.post(
    "/{messageId}/resend",
    status_code=202,
    response_model=ResendAnswer,
    summary="Send a message again",
    openapi_extra={"parameters": [IDEMPOTENCY_PARAMETER]},
    responses=error_responses(400, 401, 403, 404, 409, 422, 429, 503),
)
async def resend(
    request: Request, message_id: MessageId, requester: CurrentRequester, platform: PlatformDep
) -> Response:
    """A new message with the same content, recipient and connector, once the old one has ended.

    `uncertain` is an end too: whether to send again is your decision.
    """
    async with platform.database.session() as session:
        access = await access_to_message(session, requester, message_id, Action.SEND_MESSAGES)
        sender = await resender(session, requester, access, message_id)
    name = written_key(request)
    idempotency = (
        IdempotencyKey(key_scope(_RESEND_ROUTE, sender), name, message_id.bytes)
        if name is not None
        else None
    )
    try:
        accepted = await resend_message(
            platform.send_path, sender, message_id=message_id, idempotency=idempotency
        )
    except AppError as error:
        await note_refusal(platform.send_path, sender, error)
        raise
    return answer(accepted, b',"resentFrom":"%b"' % ids.encode(ids.MESSAGE, message_id).encode())
