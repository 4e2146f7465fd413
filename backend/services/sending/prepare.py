"""Step 4: a send becomes what is written: template and connector found, recipient checked, text rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from backend.errors import (
    BadRequest,
    ConnectorNotActive,
    ConnectorNotFound,
    FieldError,
    InvalidConnectorType,
    InvalidPhone,
    InvalidTo,
    SendBlocked,
    TemplateNotActive,
    ValidationFailed,
)
from backend.ids import new_id
from backend.models.send_queue import LANES
from backend.providers._errors import InvalidRecipient
from backend.providers._registry import AnyProvider, UnknownProvider, get_provider
from backend.services.rendering.render import Rendered, TemplateSource, render_template
from backend.services.sending.caller import Caller
from backend.services.sending.catalog import CatalogConnector
from backend.services.sending.writer import IdempotencyKey, NewMessage
from backend.status import Status

if TYPE_CHECKING:
    from backend.services.platform import Platform

SANDBOX: Final = "sandbox"
# "Up to a year ahead" (issue of the engine); a typo in the year should not wait for decades.
_FURTHEST_SEND_AT: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class SendRequest:
    """What is to be sent: a template with variables, or a text; through a connector or a type."""

    to: str
    connector_id: UUID | None = None
    connector_type: str | None = None
    template_id: UUID | None = None
    variables: Mapping[str, Any] | None = None
    text: str | None = None
    subject: str | None = None
    html: str | None = None
    priority: str = "normal"
    metadata: Mapping[str, Any] | None = None
    send_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Composed:
    """What a request comes to, before it has a recipient."""

    connector: CatalogConnector
    template: TemplateSource | None
    rendered: Rendered


async def compose(platform: Platform, caller: Caller, request: SendRequest) -> Composed:
    """Find template and connector, and render. Raises the AppError that says what is wrong."""
    template = None
    if request.template_id is not None:
        template = await platform.catalog.template(caller.project_id, request.template_id)
    _check_content(caller, request, template)
    connector = await _resolve_connector(platform, caller, request, template)
    rendered = (
        render_template(template, connector.type, request.variables or {})
        if template is not None
        else _plain_text(connector.type, request)
    )
    return Composed(connector, template, rendered)


async def prepare_message(
    platform: Platform, caller: Caller, request: SendRequest, idempotency: IdempotencyKey | None
) -> NewMessage:
    """Return the message that a send comes to. Raises the AppError that says what is wrong."""
    composed = await compose(platform, caller, request)
    return NewMessage(
        id=new_id(),
        project_id=caller.project_id,
        connector_id=composed.connector.id,
        lane=LANES[request.priority],
        columns=_columns(
            caller, request, composed, recipient=normalised_recipient(composed.connector.type, request.to)
        ),
        idempotency=idempotency,
    )


def _check_content(caller: Caller, request: SendRequest, template: TemplateSource | None) -> None:
    is_publishable = caller.key is not None and caller.key.kind == "publishable"
    if template is None:
        if is_publishable:
            raise SendBlocked('A publishable key sends templates only; name one in "templateId".')
        if not request.text:
            raise ValidationFailed(
                errors=[
                    FieldError("templateId", "MISSING_REQUIRED_FIELD", 'Name a "templateId", or write a "message".')
                ]
            )
        return
    if not template.is_active:
        raise TemplateNotActive(f"Template '{template.name}' is not active; activate it to send it.")
    if is_publishable:
        raise SendBlocked(
            f"Template '{template.name}' has the access '{template.access}': only a secret key may send it."
        )


async def _resolve_connector(
    platform: Platform, caller: Caller, request: SendRequest, template: TemplateSource | None
) -> CatalogConnector:
    catalog, project_id = platform.catalog, caller.project_id
    if request.connector_id is not None:
        connector = await catalog.connector(project_id, request.connector_id)
    elif request.connector_type is not None:
        _known_provider(request.connector_type)  # an unknown type is named as such, not as "no connector"
        if caller.mode == "test":
            return await _sandbox(platform, project_id)
        connector = await catalog.default_connector(project_id, request.connector_type)
    elif template is not None:
        type_ = SANDBOX if caller.mode == "test" else template.connector_type
        connector = await catalog.default_connector(project_id, type_)
    else:
        raise ValidationFailed(
            errors=[
                FieldError(
                    "connectorId",
                    "MISSING_REQUIRED_FIELD",
                    'Name a "connectorId", or a "connector" type such as "smtp".',
                )
            ]
        )
    if caller.mode == "test" and connector.type != SANDBOX:
        return await _sandbox(platform, project_id)
    return active(connector)


def active(connector: CatalogConnector) -> CatalogConnector:
    """Raises ConnectorNotActive."""
    if not connector.is_active:
        raise ConnectorNotActive(f"Connector '{connector.name}' is not active; activate it or name another.")
    return connector


def _known_provider(type_: str) -> type[AnyProvider]:
    try:
        return get_provider(type_)
    except UnknownProvider as exc:
        raise InvalidConnectorType(
            str(exc), errors=[FieldError("connector", InvalidConnectorType.code, str(exc))]
        ) from exc


async def _sandbox(platform: Platform, project_id: UUID) -> CatalogConnector:
    try:
        return active(await platform.catalog.default_connector(project_id, SANDBOX))
    except ConnectorNotFound as exc:
        raise ConnectorNotFound(
            "A test key sends to the Sandbox only, and this project has no Sandbox connector; add one."
        ) from exc


def normalised_recipient(connector_type: str, to: str) -> str:
    provider = _known_provider(connector_type)
    try:
        return provider.validate_recipient(to)
    except InvalidRecipient as exc:
        error = InvalidPhone if provider.recipient_kind == "phone" else InvalidTo
        raise error(str(exc), errors=[FieldError("to", error.code, str(exc))]) from exc


def _plain_text(connector_type: str, request: SendRequest) -> Rendered:
    text = request.text or ""
    limit = _known_provider(connector_type).text_limit
    if limit is not None and len(text) > limit:
        raise ValidationFailed(
            errors=[
                FieldError(
                    "message",
                    "VALIDATION_ERROR",
                    f"The text has {len(text)} characters; {connector_type} takes {limit}.",
                )
            ]
        )
    return Rendered(text=text, subject=request.subject, html=request.html, provider_template=None)


def _columns(caller: Caller, request: SendRequest, composed: Composed, *, recipient: str) -> dict[str, Any]:
    template, rendered = composed.template, composed.rendered
    content: dict[str, Any] = {"text": rendered.text}
    if rendered.subject is not None:
        content["subject"] = rendered.subject
    if rendered.html is not None:
        content["html"] = rendered.html
    if rendered.provider_template is not None:
        content["template"] = rendered.provider_template
    return {
        "key_id": caller.key.id if caller.key is not None else None,
        "connector_type": composed.connector.type,
        "template_id": template.id if template is not None else None,
        "template_version": template.version if template is not None else None,
        "mode": caller.mode,
        "recipient": recipient,
        "content": content,
        "status": _first_status(request),
        "priority": request.priority,
        "on_uncertain": template.on_uncertain if template is not None else "hold",
        "metadata": request.metadata or None,
        "send_at": request.send_at,
        "expires_at": request.expires_at,
    }


def _first_status(request: SendRequest) -> Status:
    send_at, expires_at = request.send_at, request.expires_at
    now = datetime.now(UTC) if send_at is not None or expires_at is not None else None
    if now is not None and expires_at is not None and expires_at <= max(now, send_at or now):
        raise BadRequest(
            f"expiresAt {expires_at.isoformat()} is not after the time of sending; the message would never go out.",
            errors=[FieldError("expiresAt", "VALIDATION_ERROR", "expiresAt must lie after sendAt and after now.")],
        )
    if now is None or send_at is None or send_at <= now:
        return Status.QUEUED
    if send_at - now > _FURTHEST_SEND_AT:
        raise BadRequest(
            f"sendAt {send_at.isoformat()} is more than a year ahead.",
            errors=[FieldError("sendAt", "VALIDATION_ERROR", "sendAt may be up to a year ahead.")],
        )
    return Status.SCHEDULED
