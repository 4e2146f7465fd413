"""From the body of a send to a SendRequest; shared by every route that sends."""

from __future__ import annotations

import hashlib
from typing import Any, Final, TypeVar
from uuid import UUID

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.api.frame.errors import validation_error
from backend.api.frame.json_bodies import check_size, check_values, needs_check, read_json
from backend.api.inputs.access import Requester
from backend.api.resources.messages.send_bodies import (
    BatchBody,
    ContentFields,
    SendBody,
    SendFields,
    TextBody,
)
from backend.errors import (
    BadRequest,
    ConnectorNotFound,
    FieldError,
    ProjectNotFound,
    TemplateNotFound,
    UnsupportedMediaType,
    ValidationFailed,
)
from backend.ledger.idempotency import IdempotencyKey
from backend.services.access.access import Access
from backend.services.messages.actions import mode_of
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.sending.accept import Acceptance
from backend.services.templates.channels import type_of_channel

MAX_KEY_LENGTH: Final = 255
_MAX_METADATA_BYTES: Final = 4096

BodyT = TypeVar("BodyT", bound=BaseModel)


async def read_body(request: Request) -> bytes:
    """Raises UnsupportedMediaType."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType(
            f"'{content_type[:80]}' is not read here; send 'Content-Type: application/json'."
        )
    return await request.body()


def parse(model: type[BodyT], body: bytes) -> BodyT:
    """Raises MalformedBody or ValidationFailed."""
    if needs_check(body):
        check_values(read_json(body))
    try:
        return model.model_validate_json(body)
    except ValidationError as exc:
        raise validation_error(exc) from exc


def parse_batch(body: bytes) -> BatchBody:
    """Like `parse`, but values that cannot be stored are left to each message.

    Raises MalformedBody or ValidationFailed.
    """
    try:
        if not needs_check(body):
            return BatchBody.model_validate_json(body)
        value = read_json(body)
        check_size(value)
        return BatchBody.model_validate(value)
    except ValidationError as exc:
        raise validation_error(exc) from exc


def parse_object(model: type[BodyT], fields: dict[str, Any]) -> BodyT:
    """Like `parse`, for an object that is already read. Raises ValidationFailed."""
    check_values(fields)
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        raise validation_error(exc) from exc


def recipient_of(body: SendBody) -> str | dict[str, str]:
    """Return the recipient; "" if the send token names it. Raises ValidationFailed."""
    if not body.to and body.send_token is None:
        raise missing_recipient("to")
    return body.to


def missing_recipient(field: str) -> ValidationFailed:
    message = f"'{field}' is missing; add it to the body."
    return ValidationFailed(errors=[FieldError(field, "MISSING_REQUIRED_FIELD", message)])


def send_request(
    body: ContentFields, to: str | dict[str, str], send_token: str | None = None
) -> SendRequest:
    """Raises what is wrong with ids, and with fields that exclude each other."""
    template_id: UUID | None = None
    if body.template_id is not None:
        template_id = ids.decode(ids.TEMPLATE, body.template_id)
        if template_id is None:
            raise TemplateNotFound(
                f"There is no template '{body.template_id[:60]}' in this project."
            )
    if template_id is not None and body.message is not None:
        raise _excluded("A message has a template or a text, not both.", "message", "templateId")
    if body.variables is not None and body.template_vars is not None:
        raise _excluded("The variables are written once.", "templateVars", "variables")
    connector_id = _connector_id(body)
    if body.channels is not None or body.route is not None or body.fallback_after is not None:
        _check_route(body)
    return SendRequest(
        to=to if isinstance(to, str) else "",
        recipients=None if isinstance(to, str) else to,
        connector_id=connector_id,
        connector_type=body.connector,
        channels=body.channels,
        route=body.route,
        fallback_after_s=body.fallback_after,
        template_id=template_id,
        variables=body.variables if body.template_vars is None else body.template_vars,
        text=body.message,
        subject=body.subject,
        html=body.html,
        priority=body.priority,
        metadata=checked_metadata(body.metadata),
        send_at=body.send_at,
        expires_at=body.expires_at,
        timezone=body.timezone,
        send_token=send_token,
    )


def _check_route(body: ContentFields) -> None:
    """Raises BadRequest if another field names the way too, and ValidationFailed if a channel
    repeats.
    """
    field = "channels" if body.channels is not None else "route"
    if body.channels is None and body.route is None:
        remedy = 'Leave out "fallbackAfter", or name "channels" or a "route".'
        message = "Without a second way to send there is nothing to fall back to."
        raise BadRequest(message, errors=[FieldError("fallbackAfter", "VALIDATION_ERROR", remedy)])
    others = {"connector": body.connector, "connectorId": body.connector_id}
    if field == "channels":
        others["route"] = body.route
    for name, value in others.items():
        if value is not None:
            raise _excluded(f'A message goes through "{field}" or through "{name}".', field, name)
    channels = body.channels or []
    if len({type_of_channel(channel) for channel in channels}) < len(channels):
        aliases = {name: type_of_channel(name) for name in channels}
        meanings = [f"'{name}' is '{type_}'" for name, type_ in aliases.items() if name != type_]
        remedy = "Leave out one of them."
        if meanings:
            remedy = f"Leave out one of them: {', '.join(meanings)}."
        raise BadRequest(
            '"channels" names one channel twice.',
            errors=[FieldError("channels", "VALIDATION_ERROR", remedy)],
        )


def text_request(body: TextBody) -> SendRequest:
    """Like `send_request`; reference 003's texts go by WhatsApp unless a connector is named."""
    connector_id = _connector_id(body)
    return SendRequest(
        to=body.to,
        connector_id=connector_id,
        connector_type=body.connector or (None if connector_id is not None else "whatsapp"),
        text=body.message,
        priority=body.priority,
        metadata=checked_metadata(body.metadata),
        send_at=body.send_at,
        expires_at=body.expires_at,
        timezone=body.timezone,
    )


def _connector_id(body: SendFields) -> UUID | None:
    if body.connector_id is None:
        return None
    connector_id = ids.decode(ids.CONNECTOR, body.connector_id)
    if connector_id is None:
        raise ConnectorNotFound(
            f"There is no connector '{body.connector_id[:60]}' in this project."
        )
    if body.connector is not None:
        raise _excluded("A message goes through one connector.", "connector", "connectorId")
    return connector_id


def checked_metadata(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """Raises ValidationFailed for more than a message may carry."""
    if metadata is not None and len(orjson.dumps(metadata)) > _MAX_METADATA_BYTES:
        message = (
            f"metadata may have {_MAX_METADATA_BYTES} bytes as JSON; keep an id here and the rest"
            " with you."
        )
        raise ValidationFailed(errors=[FieldError("metadata", "VALIDATION_ERROR", message)])
    return metadata


def _excluded(message: str, field: str, other: str) -> BadRequest:
    remedy = f'Leave out "{field}" or "{other}".'
    return BadRequest(message, errors=[FieldError(field, "VALIDATION_ERROR", remedy)])


def check_project(sender: Sender, project_id: str | None) -> None:
    """A key sends only for its own project. Raises ProjectNotFound."""
    if project_id is not None and ids.decode(ids.PROJECT, project_id) != sender.project_id:
        raise ProjectNotFound(
            f"'{project_id[:60]}' is not the project of this API key; leave out \"projectId\"."
        )


def idempotency_key(
    request: Request, sender: Sender, route: str, body: bytes
) -> IdempotencyKey | None:
    """Return the request's Idempotency-Key. Raises BadRequest."""
    key = written_key(request)
    if key is None:
        return None
    return IdempotencyKey(key_scope(route, sender), key, body_hash(body))


def key_scope(route: str, sender: Sender) -> str:
    """Return the namespace of this sender's Idempotency-Keys.

    Web pages have one of their own: no visitor may take a key that the server is about to use. So
    has test mode: a try must not answer for a message that is to be sent.
    """
    if sender.key is not None and sender.key.kind == "publishable":
        route = f"{route} (page)"
    return f"{route} (test)" if sender.mode == "test" else route


def written_key(request: Request) -> str | None:
    raw = request.headers.get("idempotency-key")
    if raw is None:
        return None
    key = raw[1:-1] if len(raw) >= 2 and raw[0] == raw[-1] == '"' else raw
    if not key or len(key) > MAX_KEY_LENGTH:
        remedy = f"Use 1 to {MAX_KEY_LENGTH} characters, a UUID say."
        raise BadRequest(
            f"The Idempotency-Key has {len(key)} characters; it needs 1 to {MAX_KEY_LENGTH}.",
            errors=[FieldError("Idempotency-Key", "VALIDATION_ERROR", remedy)],
        )
    return key


def body_hash(body: bytes) -> bytes:
    """Canonical: a repeat with its fields in another order is the same request."""
    try:
        canonical = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        # One message of a batch has a value that isn't a JSON number; the others are sent.
        canonical = body
    return hashlib.sha256(canonical).digest()


def answer(accepted: Acceptance, extra: bytes = b"") -> Response:
    message_id = ids.encode(ids.MESSAGE, accepted.message_id)
    return Response(
        b'{"messageId":"%b","status":"%b"%b}'
        % (message_id.encode(), accepted.status.encode(), extra),
        status_code=202,
        headers=limit_headers(accepted),
        media_type="application/json",
    )


def limit_headers(accepted: Acceptance) -> dict[str, str]:
    headers: dict[str, str] = accepted.allowance.headers() if accepted.allowance is not None else {}
    if accepted.is_replay:
        headers["Idempotency-Replayed"] = "true"
    return headers


async def resender(
    session: AsyncSession, requester: Requester, access: Access, message_id: UUID
) -> Sender:
    """Return who sends a message again. A user sends in the mode that the message had.

    Raises MessageNotFound.
    """
    mode = None
    if access.mode is None:
        mode = await mode_of(session, access, message_id=message_id)
    return requester.sender(access, mode)
