"""Redeem a send token: a web page sends one template to one recipient, once.

Everything else is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from backend import ids
from backend.crypto import DecryptionFailed
from backend.errors import BadRequest, FieldError, KeyNotFound, SendBlocked, ValidationFailed
from backend.services.keys.send_tokens import TokenClaims, kid_of, read
from backend.services.policy.request import Grant, SendRequest

if TYPE_CHECKING:
    from backend.models.send_token_secret import Signer
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender

log = structlog.get_logger()

# What a page may say itself, within the token's rules. Everything else is for the backend to say.
_FOR_PAGES: Final = frozenset(
    {"to", "connector_id", "connector_type", "template_id", "variables", "send_token", "grant"}
)
_LONGEST_VALUE_CHARS: Final = 200
# Whatever a phone would turn into a link, bare domains included. The dot of a domain may be an
# ideographic full stop, which also ends sentences: there, only what looks like a Latin domain
# counts.
_LINK: Final = re.compile(
    r"://|\bwww[.\u3002]|[^\s.@/]\.[^\W\d_]{2,24}\b|[^\s.@/]\u3002(?:[a-z]{2,24}|xn--[a-z0-9-]{1,59})\b",
    re.IGNORECASE,
)
_UNSEEN: Final = frozenset({"Cf", "Mn", "Me", "Mc"})


async def redeem(path: SendPath, sender: Sender, request: SendRequest, token: str) -> SendRequest:
    """Return the request as its send token allows it, with a grant.

    Raises SendBlocked or BadRequest.
    """
    if sender.key is None or sender.key.kind != "publishable":
        remedy = 'Leave out "sendToken": a secret key needs none.'
        raise BadRequest(
            "A send token goes with a publishable key.",
            errors=[FieldError("sendToken", "VALIDATION_ERROR", remedy)],
        )
    claims = await _claims(path, sender, token)
    if claims.origin is not None and claims.origin.lower() != (sender.origin or "").lower():
        raise SendBlocked(f"The send token is for pages of '{claims.origin[:80]}' only.")
    _check_fields(request)
    template_id = ids.decode(ids.TEMPLATE, claims.template_id)
    if template_id is None or request.template_id not in {None, template_id}:
        raise SendBlocked("The send token is for another template.")
    connector_id = _connector_id(claims)
    if request.connector_id not in {None, connector_id} or request.connector_type not in {
        None,
        claims.connector,
    }:
        raise SendBlocked(
            "The request names another connector than the send token, or the token names none;"
            " leave the connector out of the request."
        )
    return replace(
        request,
        to=request.to or claims.to or "",
        template_id=template_id,
        connector_id=connector_id,
        connector_type=claims.connector,
        variables=merged_variables(request.variables or {}, claims.variables),
        grant=Grant(claims.jti, datetime.fromtimestamp(claims.exp, UTC), claims.to, claims.to_hash),
    )


async def _claims(path: SendPath, sender: Sender, token: str) -> TokenClaims:
    kid = kid_of(token)
    signer = await _signer(path, sender, kid)
    now = datetime.now(UTC)
    if signer.expires_at is not None and signer.expires_at <= now:
        raise SendBlocked(
            f"The send token was made with the API key '{signer.name}', which has expired."
        )
    if signer.mode != sender.mode:
        raise SendBlocked(
            f"The send token was made with a {signer.mode} key, and this is a {sender.mode} key."
        )
    if "messages:send" not in signer.scopes:
        raise SendBlocked(
            f"The send token was made with the API key '{signer.name}', which may not send."
        )
    claims = read(token, _secret(path, kid, signer), now=now)
    if (claims.to is None) == (claims.to_hash is None):
        raise SendBlocked("The send token must name its recipient: 'to', or 'toHash'.")
    return claims


async def _signer(path: SendPath, sender: Sender, kid: str) -> Signer:
    stranger = SendBlocked("The send token was not made with a valid secret key of this project.")
    try:
        signer = await path.catalog.signer(kid)
    except KeyNotFound as exc:
        raise stranger from exc
    if signer.project_id != sender.project_id:
        raise stranger
    return signer


def _secret(path: SendPath, kid: str, signer: Signer) -> bytes:
    try:
        return bytes.fromhex(path.vault.decrypt(signer.secret_encrypted, context=kid))
    except DecryptionFailed as exc:
        log.error("send_token.undecryptable", key_id=str(signer.key_id), reason=str(exc))  # noqa: TRY400
        raise SendBlocked(
            f"Tokens of the API key '{signer.name}' cannot be checked; regenerate the key."
        ) from exc


def _connector_id(claims: TokenClaims) -> UUID | None:
    if claims.connector_id is None:
        return None
    connector_id = ids.decode(ids.CONNECTOR, claims.connector_id)
    if connector_id is None or claims.connector is not None:
        raise SendBlocked(
            "The send token must name its connector by one of 'connectorId' and 'connector'."
        )
    return connector_id


def _check_fields(request: SendRequest) -> None:
    """Refuse what is not for pages. A new field of a request is refused until it is named above."""
    named = [
        field.name
        for field in fields(request)
        if field.name not in _FOR_PAGES and getattr(request, field.name) != field.default
    ]
    if named:
        raise SendBlocked(
            f"With a send token a page says recipient and variables only, not: {', '.join(named)}."
        )


def merged_variables(given: Mapping[str, Any], locked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page's variables together with those that the token locks.

    Raises ValidationFailed for a value that a page may not set, and SendBlocked for another value
    of a locked variable.
    """
    errors = [
        FieldError(f"variables.{name[:64]}", "VALIDATION_ERROR", problem)
        for name, value in given.items()
        if name not in locked and (problem := _problem(name[:64], value))
    ]
    if errors:
        raise ValidationFailed(errors=errors)
    changed = [name for name, value in given.items() if name in locked and value != locked[name]]
    if changed:
        raise SendBlocked(
            f"The send token locks the variable '{changed[0][:64]}'; leave it out of the request."
        )
    return {**given, **locked}


def _as_domains_are_read(text: str) -> str:
    """Return the text in the form in which host names are looked up: wide letters made plain,
    invisible ones removed.
    """
    if text.isascii():
        return text
    shown = "".join(
        item
        for item in unicodedata.normalize("NFKC", text)
        if unicodedata.category(item) not in _UNSEEN
    )
    return unicodedata.normalize("NFKC", shown)


def _problem(name: str, value: Any) -> str | None:
    """Return why a page may not set a variable to `value`: it must be plain and short."""
    remedy = "have your backend set it in the send token"
    if isinstance(value, dict | list):
        return (
            f"A page sets the variable '{name}' to a text, a number or a boolean; for more,"
            f" {remedy}."
        )
    if isinstance(value, str) and len(value) > _LONGEST_VALUE_CHARS:
        return (
            f"The variable '{name}' has {len(value)} characters, a page may send"
            f" {_LONGEST_VALUE_CHARS}; or {remedy}."
        )
    if isinstance(value, str) and _LINK.search(_as_domains_are_read(value)):
        return (
            f"The variable '{name}' holds a link or an address, which a page may not send;"
            f" {remedy}."
        )
    return None
