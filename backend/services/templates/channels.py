"""Which variant of a template a connector type sends, and which type a channel's name stands
for.
"""

from __future__ import annotations

from typing import Final

from backend.providers.frame.registry import provider_types

EMAIL: Final = "email"
SMS: Final = "sms"
WHATSAPP: Final = "whatsapp"

# Types that are not named after their channel.
_CHANNELS: Final = {"smtp": EMAIL, "twilio": SMS}
_TYPES: Final = {channel: type_ for type_, channel in _CHANNELS.items()}


def channel_type(connector_type: str, template_connector_type: str) -> str:
    """Return the connector type whose rules the text follows: the sandbox plays the template's
    own.
    """
    return template_connector_type if connector_type == "sandbox" else connector_type


def channel_of(connector_type: str) -> str:
    """Return the channel of a connector type; a type that is not listed is its own channel."""
    return _CHANNELS.get(connector_type, connector_type)


def type_of_channel(channel: str) -> str:
    """Return the connector type that `channel` stands for: a type's own name is a channel too."""
    return _TYPES.get(channel, channel)


def channel_names() -> list[str]:
    """Return what may be named as a channel, types included."""
    return sorted({*_TYPES, *provider_types()})
