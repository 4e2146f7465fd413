"""Channels: which variant of a template a type sends, and which type a channel stands for."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from backend.providers.frame.registry import provider_types

EMAIL: Final = "email"
SMS: Final = "sms"
WHATSAPP: Final = "whatsapp"


def channel_type(connector_type: str, template_connector_type: str) -> str:
    """Return the connector type whose rules the text follows: a built-in one plays the
    template's.
    """
    provider = provider_types().get(connector_type)
    if provider is not None and provider.is_built_in:
        return template_connector_type
    return connector_type


def channel_of(connector_type: str) -> str:
    """Return the channel of a connector type; a type that is not installed is its own."""
    provider = provider_types().get(connector_type)
    return connector_type if provider is None else provider.channel or connector_type


def type_of_channel(channel: str) -> str:
    """Return the connector type that `channel` stands for: a type's own name is a channel too."""
    return _types().get(channel, channel)


def channel_names() -> list[str]:
    """Return what may be named as a channel, types included."""
    return sorted({*_types(), *provider_types()})


@lru_cache(maxsize=1)
def _types() -> dict[str, str]:
    """Return channel -> type, where the two differ; of several types the first one."""
    types: dict[str, str] = {}
    for name, provider in provider_types().items():
        if provider.channel:
            types.setdefault(provider.channel, name)
    return types
