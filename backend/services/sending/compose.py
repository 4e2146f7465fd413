"""Compose a message: find the template and the ways, check recipients, render the text for each
type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backend.errors import (
    FieldError,
    SendBlocked,
    TemplateNotActive,
    ValidationFailed,
)
from backend.ids import new_id
from backend.ledger.accept import NewMessage, TokenUse
from backend.ledger.content import Content, MessageRoute, Step
from backend.ledger.idempotency import IdempotencyKey
from backend.models.send_queue import LANES
from backend.provider_types import provider_of
from backend.services.policy.grants import redeem
from backend.services.policy.request import SIGNED, Grant, SendRequest
from backend.services.policy.sender import Sender
from backend.services.routing.recipients import normalised_recipient
from backend.services.routing.ways import Way, Ways, find_ways, without_suppressed
from backend.services.sending.timing import first_time, phones_among, quiet_hours_of
from backend.services.templates.render import Rendered, TemplateSource, render_template

if TYPE_CHECKING:
    from backend.services.policy.send_path import SendPath

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Composed:
    """The ways of a request, and what each connector type among them sends."""

    ways: Ways
    template: TemplateSource | None
    rendered: Mapping[str, Rendered]


async def compose(path: SendPath, sender: Sender, request: SendRequest) -> Composed:
    """Find template and connectors, and render. Raises the AppError that says what is wrong."""
    template = None
    if request.template_id is not None:
        template = await path.catalog.template(sender.project_id, request.template_id)
    _check_content(sender, request, template)
    ways = await find_ways(path, sender, request, template)
    rendered: dict[str, Rendered] = {}
    for way in ways.steps:
        type_ = way.connector.type
        if type_ not in rendered:
            rendered[type_] = _render(request, template, type_)
    return Composed(ways, template, rendered)


def _render(request: SendRequest, template: TemplateSource | None, connector_type: str) -> Rendered:
    if template is None:
        return _plain_text(connector_type, request)
    return render_template(template, connector_type, request.variables or {})


async def prepare_message(
    path: SendPath, sender: Sender, request: SendRequest, idempotency: IdempotencyKey | None
) -> NewMessage:
    """Return the message to write for a request. Raises the AppError that says what is wrong."""
    if request.send_token is not None:
        request = await redeem(path, sender, request, request.send_token)
    composed = await compose(path, sender, request)
    ways = composed.ways
    if len(ways.steps) > 1:
        ways = await without_suppressed(path, sender.project_id, ways)
    connector = ways.steps[0].connector
    recipient = ways.steps[0].recipient or normalised_recipient(connector.type, "")
    columns = _columns(sender, request, composed, ways.steps[0], recipient)
    quiet_hours = await quiet_hours_of(path, sender, request.priority)
    phones = _phones(request, ways) if quiet_hours is not None else ()
    columns["send_at"], columns["status"] = first_time(
        request.send_at, request.expires_at, quiet_hours, timezone=request.timezone, phones=phones
    )
    if len(ways.steps) > 1:
        columns["route"] = _route(ways, composed.rendered)
    return NewMessage(
        id=new_id(),
        project_id=sender.project_id,
        connector_id=connector.id,
        lane=LANES[request.priority],
        columns=columns,
        idempotency=idempotency,
        token=None if request.grant is None else _token_use(request.grant, ways),
    )


def _phones(request: SendRequest, ways: Ways) -> list[str]:
    """Return the phone numbers that may tell the recipient's time zone, the first way's first."""
    ours = phones_among((way.connector.type, way.recipient) for way in ways.steps)
    named = (request.recipients or {}).get("phone")
    return [*ours, named] if named is not None else ours


def _route(ways: Ways, rendered: Mapping[str, Rendered]) -> dict[str, Any]:
    """Return all ways as the message keeps them; the first is the one it takes first."""
    steps = tuple(
        Step(
            way.connector.id,
            way.connector.type,
            way.recipient,
            _content(rendered[way.connector.type]),
            way.on,
        )
        for way in ways.steps
    )
    return MessageRoute(steps, ways.fallback_after_s).to_json()


def _token_use(grant: Grant, ways: Ways) -> TokenUse:
    for way in ways.steps:
        granted = None if grant.to is None else normalised_recipient(way.connector.type, grant.to)
        if not grant.allows(way.recipient, granted):
            raise SendBlocked("The send token is for another recipient.")
    return TokenUse(grant.jti, grant.expires_at)


def _check_content(sender: Sender, request: SendRequest, template: TemplateSource | None) -> None:
    is_publishable = sender.key is not None and sender.key.kind == "publishable"
    if template is None:
        if is_publishable:
            raise SendBlocked('A publishable key sends templates only; name one in "templateId".')
        if not request.text:
            raise ValidationFailed(
                errors=[
                    FieldError(
                        "templateId",
                        "MISSING_REQUIRED_FIELD",
                        'Name a "templateId", or write a "message".',
                    )
                ]
            )
        return
    if not template.is_active:
        raise TemplateNotActive(
            f"Template '{template.name}' is not active; activate it to send it."
        )
    if is_publishable and (template.access != SIGNED or request.grant is None):
        remedy = (
            'send a "sendToken" of your backend with it'
            if template.access == SIGNED
            else "only a secret key may send it"
        )
        raise SendBlocked(
            f"Template '{template.name}' has the access '{template.access}': {remedy}."
        )


def _plain_text(connector_type: str, request: SendRequest) -> Rendered:
    text = request.text or ""
    limit = provider_of(connector_type, field="connector").text_limit
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


def _content(rendered: Rendered) -> dict[str, Any]:
    if rendered.subject is not None:
        _check_subject(rendered.subject)
    return Content(
        rendered.text, rendered.subject, rendered.html, rendered.provider_template
    ).to_json()


def _check_subject(subject: str) -> None:
    if not subject.isprintable() and _CONTROLS.search(subject):
        problem = (
            "The subject has a line break or another control character, its own or a variable's;"
            " leave it out."
        )
        raise ValidationFailed(errors=[FieldError("subject", "VALIDATION_ERROR", problem)])


def _columns(
    sender: Sender, request: SendRequest, composed: Composed, first: Way, recipient: str
) -> dict[str, Any]:
    template, connector_type = composed.template, first.connector.type
    return {
        "key_id": sender.key.id if sender.key is not None else None,
        "connector_type": connector_type,
        "template_id": template.id if template is not None else None,
        "template_version": template.version if template is not None else None,
        "mode": sender.mode,
        "recipient": recipient,
        "content": _content(composed.rendered[connector_type]),
        "priority": request.priority,
        "on_uncertain": template.on_uncertain if template is not None else "hold",
        "metadata": request.metadata or None,
        "expires_at": request.expires_at,
    }
