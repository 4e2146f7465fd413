"""Step 1 of a message: `POST /messages`. Reads its body itself, because this is the hot path."""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from backend import ids
from backend.api.errors import validation_error
from backend.api.schemas.common import has_nul
from backend.api.schemas.send import SendAnswer, SendBody, send_operation
from backend.api.security import bearer_token, check_origin
from backend.errors import (
    BadRequest,
    ConnectorNotFound,
    FieldError,
    MalformedBody,
    TemplateNotFound,
    UnsupportedMediaType,
    ValidationFailed,
)
from backend.services.platform import Platform
from backend.services.sending.accept import Accepted, Caller, SendRequest, accept_message
from backend.services.sending.writer import IdempotencyKey

router = APIRouter(prefix="/api/v1", tags=["Messages"])

_ROUTE: Final = "POST /messages"
_MAX_KEY_LENGTH: Final = 255
_MAX_METADATA_BYTES: Final = 4096


@router.post(
    "/messages",
    status_code=202,
    response_model=SendAnswer,
    summary="Send a message",
    openapi_extra=send_operation(),
)
async def send_message(request: Request) -> Response:
    """Accept one message for delivery. `202` means it is stored: it survives a crash of any part."""
    platform: Platform = request.app.state.platform
    key = await platform.catalog.key(bearer_token(request))
    check_origin(key, request.headers.get("origin"))
    body = await _read_body(request)
    parsed = _parse(body)
    accepted = await accept_message(
        platform, Caller.of_key(key), _send_request(parsed), idempotency=_idempotency_key(request, body)
    )
    return _answer(accepted)


async def _read_body(request: Request) -> bytes:
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType(f"'{content_type[:80]}' is not read here; send 'Content-Type: application/json'.")
    return await request.body()


def _parse(body: bytes) -> SendBody:
    try:
        parsed = SendBody.model_validate_json(body)
    except ValidationError as exc:
        raise validation_error(exc) from exc
    # Postgres cannot store NUL; the cheap search first, since it is hardly ever there.
    if b"\\u0000" in body:
        _refuse_nul(orjson.loads(body))
    if parsed.metadata is not None and len(orjson.dumps(parsed.metadata)) > _MAX_METADATA_BYTES:
        message = f"metadata may have {_MAX_METADATA_BYTES} bytes as JSON; keep an id here and the rest with you."
        raise ValidationFailed(errors=[FieldError("metadata", "VALIDATION_ERROR", message)])
    return parsed


def _refuse_nul(fields: dict[str, object]) -> None:
    for name, value in fields.items():
        if has_nul(name) or has_nul(value):
            message = f"'{name}' contains a NUL character (\\u0000), which cannot be stored; remove it."
            raise ValidationFailed(errors=[FieldError(name.replace("\x00", ""), "VALIDATION_ERROR", message)])


def _send_request(body: SendBody) -> SendRequest:
    connector_id: UUID | None = None
    template_id: UUID | None = None
    if body.connector_id is not None:
        connector_id = ids.decode(ids.CONNECTOR, body.connector_id)
        if connector_id is None:
            raise ConnectorNotFound(f"There is no connector '{body.connector_id[:60]}' in this project.")
    if body.template_id is not None:
        template_id = ids.decode(ids.TEMPLATE, body.template_id)
        if template_id is None:
            raise TemplateNotFound(f"There is no template '{body.template_id[:60]}' in this project.")
    if template_id is not None and body.message is not None:
        raise BadRequest(
            "A message has a template or a text, not both.",
            errors=[FieldError("message", "VALIDATION_ERROR", 'Leave out "message" or "templateId".')],
        )
    if connector_id is not None and body.connector is not None:
        raise BadRequest(
            "A message goes through one connector.",
            errors=[FieldError("connector", "VALIDATION_ERROR", 'Leave out "connector" or "connectorId".')],
        )
    return SendRequest(
        to=body.to,
        connector_id=connector_id,
        connector_type=body.connector,
        template_id=template_id,
        variables=body.variables,
        text=body.message,
        subject=body.subject,
        html=body.html,
        priority=body.priority,
        metadata=body.metadata,
        send_at=body.send_at,
        expires_at=body.expires_at,
    )


def _idempotency_key(request: Request, body: bytes) -> IdempotencyKey | None:
    raw = request.headers.get("idempotency-key")
    if raw is None:
        return None
    key = raw[1:-1] if len(raw) >= 2 and raw[0] == raw[-1] == '"' else raw
    if not key or len(key) > _MAX_KEY_LENGTH:
        raise BadRequest(
            f"The Idempotency-Key has {len(key)} characters; it needs 1 to {_MAX_KEY_LENGTH}.",
            errors=[
                FieldError("Idempotency-Key", "VALIDATION_ERROR", f"Use 1 to {_MAX_KEY_LENGTH} characters, a UUID say.")
            ],
        )
    # Canonical, so that the same request with its fields in another order is the same request.
    try:
        canonical = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError as exc:
        raise MalformedBody from exc
    return IdempotencyKey(_ROUTE, key, hashlib.sha256(canonical).digest())


def _answer(accepted: Accepted) -> Response:
    message_id = ids.encode(ids.MESSAGE, accepted.message_id)
    headers: dict[str, str] = accepted.allowance.headers() if accepted.allowance is not None else {}
    if accepted.is_replay:
        headers["Idempotency-Replayed"] = "true"
    return Response(
        b'{"messageId":"%b","status":"%b"}' % (message_id.encode(), accepted.status.encode()),
        status_code=202,
        headers=headers,
        media_type="application/json",
    )
