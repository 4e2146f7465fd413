"""Step 5: accept one message: policy, render, persist, ring. What returns from here is ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from backend.errors import (
    AppError,
    BadRequest,
    ConnectorNotActive,
    ConnectorNotFound,
    FieldError,
    InvalidConnectorType,
    InvalidPhone,
    InvalidTo,
    KeyScope,
    RateLimitExceeded,
    SendBlocked,
    TemplateNotActive,
    ValidationFailed,
)
from backend.ids import new_id
from backend.models.send_queue import LANES
from backend.providers._errors import InvalidRecipient
from backend.providers._registry import AnyProvider, UnknownProvider, get_provider
from backend.services.policy.rate_limit import Allowance
from backend.services.rendering.render import Rendered, TemplateSource, render_template
from backend.services.sending.catalog import CatalogConnector, CatalogKey
from backend.services.sending.writer import IdempotencyKey, NewMessage, Written
from backend.status import Status

if TYPE_CHECKING:
    from backend.services.platform import Platform

SANDBOX: Final = "sandbox"
# "Up to a year ahead" (issue of the engine); a typo in the year should not wait for decades.
_FURTHEST_SEND_AT: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends: a key, or a member of the project through the dashboard (`key` is None)."""

    project_id: UUID
    mode: Literal["live", "test"]
    key: CatalogKey | None = None

    @classmethod
    def of_key(cls, key: CatalogKey) -> Caller:
        return cls(key.project_id, "test" if key.mode == "test" else "live", key)


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
class Accepted:
    """`allowance` is set when the key has a limit and Redis could count."""

    message_id: UUID
    status: str
    is_replay: bool
    allowance: Allowance | None = None


async def accept_message(
    platform: Platform, caller: Caller, request: SendRequest, *, idempotency: IdempotencyKey | None = None
) -> Accepted:
    """Return once the message is committed. It has its own transaction: see writer.py.

    Raises the AppError that says what is wrong; a repeat under a used Idempotency-Key gets the
    original answer even when the template or connector has gone since.
    """
    try:
        allowance = await _check_policy(platform, caller)
        message = await _prepare(platform, caller, request, idempotency)
    except AppError:
        if idempotency is not None:
            earlier = await platform.writer.find_earlier(caller.project_id, idempotency)
            if earlier is not None:
                return _accepted(earlier, None)
        raise
    if caller.key is not None:
        platform.key_usage.note(caller.key.id)
    return _accepted(await platform.writer.write(message), allowance)


def _accepted(written: Written, allowance: Allowance | None) -> Accepted:
    return Accepted(written.message_id, written.status, written.is_replay, allowance)


async def _check_policy(platform: Platform, caller: Caller) -> Allowance | None:
    key = caller.key
    if key is None:
        return None
    if "messages:send" not in key.scopes:
        raise KeyScope(f"API key '{key.name}' lacks the scope 'messages:send'; add it or use another key.")
    if key.rate_limit is None:
        return None
    allowance = await platform.rate_limiter.take(key.id, key.rate_limit)
    if allowance is None:
        # Redis is away. A secret key is a server's; a publishable one anybody's: it stays closed.
        if key.kind == "publishable":
            raise RateLimitExceeded("The limits cannot be counted right now; try again shortly.")
        return None
    if not allowance.is_allowed:
        raise RateLimitExceeded(
            f"API key '{key.name}' has sent {allowance.limit} messages within {allowance.window_s} s, its limit; "
            f"try again in {allowance.reset_s} s or raise its rateLimit.",
            headers=allowance.headers(),
        )
    return allowance


async def _prepare(
    platform: Platform, caller: Caller, request: SendRequest, idempotency: IdempotencyKey | None
) -> NewMessage:
    template = None
    if request.template_id is not None:
        template = await platform.catalog.template(caller.project_id, request.template_id)
    _check_content(caller, request, template)
    connector = await _resolve_connector(platform, caller, request, template)
    recipient = _normalised_recipient(connector.type, request.to)
    rendered = (
        render_template(template, connector.type, request.variables or {})
        if template is not None
        else _plain_text(connector.type, request)
    )
    return NewMessage(
        id=new_id(),
        project_id=caller.project_id,
        connector_id=connector.id,
        lane=LANES[request.priority],
        columns=_columns(caller, request, connector, template, recipient=recipient, rendered=rendered),
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
        connector = await _sandbox(platform, project_id)
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
        return await platform.catalog.default_connector(project_id, SANDBOX)
    except ConnectorNotFound as exc:
        raise ConnectorNotFound(
            "A test key sends to the Sandbox only, and this project has no Sandbox connector; add one."
        ) from exc


def _normalised_recipient(connector_type: str, to: str) -> str:
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


def _columns(
    caller: Caller,
    request: SendRequest,
    connector: CatalogConnector,
    template: TemplateSource | None,
    *,
    recipient: str,
    rendered: Rendered,
) -> dict[str, Any]:
    content: dict[str, Any] = {"text": rendered.text}
    if rendered.subject is not None:
        content["subject"] = rendered.subject
    if rendered.html is not None:
        content["html"] = rendered.html
    if rendered.provider_template is not None:
        content["template"] = rendered.provider_template
    return {
        "key_id": caller.key.id if caller.key is not None else None,
        "connector_type": connector.type,
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
