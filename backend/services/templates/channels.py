"""Channels: which variant of a template a type sends, and which type a channel stands for."""

from __future__ import annotations

from typing import Final

from backend.provider_types import SANDBOX
from backend.providers.frame.registry import provider_types

# The channels for which a template may hold a variant.
EMAIL: Final = "email"
SMS: Final = "sms"
WHATSAPP: Final = "whatsapp"


def channel_type(connector_type: str, template_connector_type: str) -> str:
    """Return the connector type whose rules the text follows: the sandbox plays the template's."""
    return template_connector_type if connector_type == SANDBOX else connector_type


def channel_of(connector_type: str) -> str:
    """Return the channel of a connector type; its own name if it is no longer installed."""
    provider = provider_types().get(connector_type)
    return connector_type if provider is None else provider.channel


def type_of_channel(channel: str) -> str:
    """Return the connector type that `channel` stands for: a type of that name, else the first.

    The registry's order decides which is the first: built-in providers, then third parties'.
    """
    types = provider_types()
    if channel in types:
        return channel
    return next((type_ for type_ in types if types[type_].channel == channel), channel)


def channel_names() -> list[str]:
    """Return what may be named as a channel, types included."""
    types = provider_types()
    return sorted({*types, *(provider.channel for provider in types.values())})
