"""Whom a send reaches on a channel: one address for all of them, or one for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backend.errors import FieldError, InvalidPhone, InvalidTo
from backend.provider_types import provider_of
from backend.providers.frame.errors import InvalidRecipient
from backend.services.templates.channels import channel_names, channel_of

if TYPE_CHECKING:
    from backend.services.policy.request import SendRequest

# Kinds that several channels share; beside them every channel is a kind of its own.
_SHARED_KINDS: Final = ("phone", "email")


def recipient_kinds() -> list[str]:
    """Return the names under which a `to` by kind may hold an address."""
    return sorted({*_SHARED_KINDS, *channel_names()})


def normalised_recipient(connector_type: str, to: str) -> str:
    """Return `to` in the form of the type's channel. Raises InvalidTo or InvalidPhone."""
    provider = provider_of(connector_type, field="connector")
    try:
        return provider.validate_recipient(to)
    except InvalidRecipient as exc:
        error = InvalidPhone if provider.recipient_kind == "phone" else InvalidTo
        raise error(str(exc), errors=[FieldError("to", error.code, str(exc))]) from exc


def given_recipient(request: SendRequest, connector_type: str) -> str:
    """Return the address as it was written for a type, the most particular one: by type, by
    channel, by kind.

    "" when the request names nobody at all. Raises InvalidTo when it names others only.
    """
    named = request.recipients
    if named is None:
        return request.to
    provider = provider_of(connector_type, field="connector")
    channel = channel_of(connector_type)
    for name in (connector_type, channel, provider.recipient_kind):
        if name in named:
            return named[name]
    if provider.recipient_kind == "any" and named:
        return next(iter(named.values()))
    kind = provider.recipient_kind if provider.recipient_kind in _SHARED_KINDS else channel
    message = f'"to" names no recipient for the channel \'{channel}\'; add "{kind}" to it.'
    raise InvalidTo(message, errors=[FieldError(f"to.{kind}", InvalidTo.code, message)])
