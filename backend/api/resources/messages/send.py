"""Send a message: `POST /messages` and its aliases.

They read their bodies themselves: this is the hot path.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import Request, Response

from backend.api.inputs.access import bearer_token, check_origin
from backend.api.openapi.document import error_responses
from backend.api.resources.messages.requests import (
    answer,
    check_project,
    idempotency_key,
    missing_recipient,
    parse,
    read_body,
    recipient_of,
    send_request,
    text_request,
)
from backend.api.resources.messages.send_bodies import (
    AliasSendBody,
    SendAnswer,
    SendBody,
    TextBody,
    send_operation,
)
from backend.api.resources.routers import api_router
from backend.errors import AppError, BadRequest, FieldError
from backend.platform import Platform
from backend.services.policy.admission import note_refusal
from backend.services.policy.sender import Sender
from backend.services.sending.accept import accept_message

router = api_router(prefix="/api/v1", tags=["Messages"])

_ROUTE: Final = "POST /messages"
_REFUSALS: Final = error_responses(400, 401, 403, 404, 413, 415, 422, 429, 503)


@router.post(
    "/messages",
    status_code=202,
    response_model=SendAnswer,
    summary="Send a message",
    openapi_extra=send_operation(),
    responses=_REFUSALS,
)
async def send_message(request: Request) -> Response:
    """Accept one message for delivery.

    `202` means it is stored: it survives a crash of any part.
    """
    platform: Platform = request.app.state.platform
    key = await platform.catalog.key(bearer_token(request))
    origin = request.headers.get("origin")
    caller = Sender.of_key(key, origin)
    try:
        check_origin(key, origin)
        body = await read_body(request)
        parsed = parse(SendBody, body)
        check_project(caller, parsed.project_id)
        idempotency = idempotency_key(request, caller, _ROUTE, body)
        expected = send_request(parsed, recipient_of(parsed), parsed.send_token)
        return answer(
            await accept_message(platform.send_path, caller, expected, idempotency=idempotency)
        )
    except AppError as error:
        await note_refusal(platform.send_path, caller, error)
        raise


@router.post(
    "/messages/text",
    status_code=202,
    response_model=SendAnswer,
    summary="Send a text",
    openapi_extra=send_operation(TextBody),
    responses=_REFUSALS,
)
async def send_text(request: Request) -> Response:
    """`POST /messages` for a text; without a connector it goes by WhatsApp."""
    async with _sending(request) as (platform, caller):
        body = await read_body(request)
        parsed = parse(TextBody, body)
        check_project(caller, parsed.project_id)
        idempotency = idempotency_key(request, caller, "POST /messages/text", body)
        return answer(
            await accept_message(
                platform.send_path, caller, text_request(parsed), idempotency=idempotency
            )
        )


@router.post(
    "/send",
    status_code=202,
    response_model=SendAnswer,
    summary="Send a message, with EmailJS's names",
    openapi_extra=send_operation(AliasSendBody),
    responses=_REFUSALS,
)
async def send_alias(request: Request) -> Response:
    """`POST /messages` with `serviceId`, `templateId`, `templateParams` and `recipient`."""
    async with _sending(request) as (platform, caller):
        body = await read_body(request)
        parsed = _without_aliases(parse(AliasSendBody, body))
        check_project(caller, parsed.project_id)
        idempotency = idempotency_key(request, caller, "POST /send", body)
        expected = send_request(parsed, parsed.to, parsed.send_token)
        return answer(
            await accept_message(platform.send_path, caller, expected, idempotency=idempotency)
        )


@asynccontextmanager
async def _sending(request: Request) -> AsyncIterator[tuple[Platform, Sender]]:
    """Who sends; what is refused inside says where the limits stand."""
    platform: Platform = request.app.state.platform
    key = await platform.catalog.key(bearer_token(request))
    origin = request.headers.get("origin")
    caller = Sender.of_key(key, origin)
    try:
        check_origin(key, origin)
        yield platform, caller
    except AppError as error:
        await note_refusal(platform.send_path, caller, error)
        raise


def _without_aliases(body: AliasSendBody) -> SendBody:
    for alias, name in (
        ("recipient", "to"),
        ("service_id", "connector_id"),
        ("template_params", "variables"),
    ):
        if getattr(body, alias) is not None and getattr(body, name) is not None:
            names = [AliasSendBody.model_fields[field].alias or field for field in (alias, name)]
            raise BadRequest(
                f"'{names[0]}' and '{names[1]}' are the same field.",
                errors=[
                    FieldError(
                        names[0], "VALIDATION_ERROR", f'Leave out "{names[0]}" or "{names[1]}".'
                    )
                ],
            )
    to = body.recipient if body.to is None else body.to
    if to is None and body.send_token is None:
        raise missing_recipient("recipient")
    fields = body.model_dump(exclude={"service_id", "template_params", "recipient", "to"})
    fields["connector_id"] = body.connector_id if body.service_id is None else body.service_id
    fields["variables"] = body.variables if body.template_params is None else body.template_params
    return SendBody.model_construct(**fields, to=to or "")
