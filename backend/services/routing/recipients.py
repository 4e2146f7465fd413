"""The recipient of a send on each channel: one address for all, or one for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backend.errors import FieldError, InvalidPhone, InvalidTo
from backend.provider_types import provider_of
from backend.providers.frame.errors import InvalidRecipient
from backend.services.templates.channels import channel_names, channel_of

if TYPE_CHECKING:
    from backend.services.policy.request import SendRequest

# Kinds that several channels share. Besides, every channel is a kind of its own.
_SHARED_KINDS: Final = ("phone", "email")


def recipient_kinds() -> list[str]:
    """Return the names that "to" may have as an object."""
    return sorted({*_SHARED_KINDS, *channel_names()})


def normalised_recipient(connector_type: str, to: str) -> str:
    """Return `to` in the normal form of the type's channel. Raises InvalidTo or InvalidPhone."""
    provider = provider_of(connector_type, field="connector")
    try:
        return provider.validate_recipient(to)
    except InvalidRecipient as exc:
        error = InvalidPhone if provider.recipient_kind == "phone" else InvalidTo
        raise error(str(exc), errors=[FieldError("to", error.code, str(exc))]) from exc


def given_recipient(request: SendRequest, connector_type: str) -> str:
    """Return the address that the request gives for a connector type, as it was written.

    The most specific one counts: by type, by channel, by kind. "" if the request names nobody;
    raises InvalidTo if it names only others.
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
