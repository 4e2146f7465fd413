"""Which variant of a template a connector type sends."""

from __future__ import annotations

from typing import Final

EMAIL: Final = "email"
SMS: Final = "sms"
WHATSAPP: Final = "whatsapp"

# Types that are not named after their channel.
_CHANNELS: Final = {"smtp": EMAIL, "twilio": SMS}


def channel_type(connector_type: str, template_connector_type: str) -> str:
    """Return the connector type whose rules the text follows: the sandbox plays the template's own."""
    return template_connector_type if connector_type == "sandbox" else connector_type


def channel_of(connector_type: str) -> str:
    """Return the channel of a connector type; a type that is not listed is its own channel."""
    return _CHANNELS.get(connector_type, connector_type)
