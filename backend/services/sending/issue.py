"""Make a send token for a backend that would rather ask than sign: checked as far as it can be
now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from backend import ids
from backend.errors import BadRequest, FieldError, KeyNotFound, TemplateNotActive, ValidationFailed
from backend.models import SendTokenSecret
from backend.services.keys.origins import InvalidOrigin, normalised_origin
from backend.services.keys.send_tokens import (
    LONGEST_CHARS,
    SignedToken,
    SigningSecret,
    sign,
    signing_secret,
)
from backend.services.policy.request import SIGNED, SendRequest
from backend.services.routing.recipients import normalised_recipient
from backend.services.routing.ways import find_ways
from backend.services.templates.variables import check_variables

if TYPE_CHECKING:
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender
    from backend.services.templates.render import TemplateSource


@dataclass(frozen=True, slots=True)
class NewToken:
    """What the token is to allow.

    `variables` are those that the page may not choose; one of `to` and `to_hash`.
    """

    template_id: UUID
    to: str | None = None
    to_hash: str | None = None
    connector_id: UUID | None = None
    connector_type: str | None = None
    variables: Mapping[str, Any] | None = None
    origin: str | None = None
    life_s: int = 300


async def create_send_token(
    path: SendPath, sender: Sender, key_text: str, new: NewToken
) -> SignedToken:
    """Return a token signed as the holder of `key_text` could.

    Raises what a send of it would be refused for.
    """
    template = await _template(path, sender, new)
    request = SendRequest(to="", connector_id=new.connector_id, connector_type=new.connector_type)
    connector = (await find_ways(path, sender, request, template)).steps[0].connector
    restrictions = {
        "templateId": ids.encode(ids.TEMPLATE, template.id),
        "to": normalised_recipient(connector.type, new.to) if new.to is not None else None,
        "toHash": new.to_hash,
        "connectorId": (
            ids.encode(ids.CONNECTOR, new.connector_id) if new.connector_id is not None else None
        ),
        "connector": new.connector_type,
        "variables": dict(new.variables) if new.variables else None,
        "origin": _origin(new.origin),
    }
    signing = signing_secret(key_text)
    await _keep(path, sender, key_text, signing)
    token = sign(signing, restrictions, life_s=new.life_s, now=datetime.now(UTC))
    if len(token.text) > LONGEST_CHARS:
        message = (
            f"The token would have {len(token.text)} characters, the most is {LONGEST_CHARS}; lock"
            " less text."
        )
        raise ValidationFailed(errors=[FieldError("variables", "VALIDATION_ERROR", message)])
    return token


async def _template(path: SendPath, sender: Sender, new: NewToken) -> TemplateSource:
    template = await path.catalog.template(sender.project_id, new.template_id)
    if not template.is_active:
        raise TemplateNotActive(
            f"Template '{template.name}' is not active; activate it to send it."
        )
    if template.access != SIGNED:
        remedy = (
            f"Set the template's access to '{SIGNED}', so that a web page may send it with a token."
        )
        raise BadRequest(
            f"Template '{template.name}' has the access '{template.access}'. {remedy}",
            errors=[FieldError("templateId", "VALIDATION_ERROR", remedy)],
        )
    locked = new.variables or {}
    check_variables(template.name, template.variable_set & locked.keys(), locked)
    return template


def _origin(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return normalised_origin(text)
    except InvalidOrigin as exc:
        raise ValidationFailed(errors=[FieldError("origin", "VALIDATION_ERROR", str(exc))]) from exc


async def _keep(path: SendPath, sender: Sender, key_text: str, signing: SigningSecret) -> None:
    """A key that is older than send tokens has not told what it signs with yet."""
    key = sender.key
    assert key is not None  # noqa: S101 (its text is here)
    try:
        await path.catalog.signer(signing.kid)
    except KeyNotFound:
        await SendTokenSecret.keep(
            path.database.raw,
            kid=signing.kid,
            key_id=key.id,
            project_id=key.project_id,
            key_hash=path.catalog.hash_of(key_text),
            secret_encrypted=path.vault.encrypt(signing.secret.hex(), context=signing.kid),
        )
