"""Where providers' APIs are, so that a fake or an on-premise server can stand in."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from backend.settings.base import Base


class ProviderSettings(Base):
    whatsapp_api_url: str | None = Field(
        None, description="Where WhatsApp's API is; default: its public address"
    )
    whatsapp_api_version: str = Field("v23.0", description="The version of Meta's Graph API")
    telegram_api_url: str | None = Field(
        None, description="Where Telegram's Bot API is; default: its public address"
    )
    twilio_api_url: str | None = Field(
        None, description="Where Twilio's API is; default: its public address"
    )
    slack_api_url: str | None = Field(None, description="For a later version: Slack's API")
    discord_api_url: str | None = Field(None, description="For a later version: Discord's API")
    exotel_api_url: str | None = Field(None, description="For a later version: Exotel's API")
    allow_private_network: bool = Field(
        False, description="Let tenants connect to private and loopback hosts"
    )

    def provider_urls(self, defaults: Mapping[str, str]) -> dict[str, str]:
        """Return the base URL of each provider type; `defaults`: what the providers declare.

        `<TYPE>_API_URL` replaces the default, and `<TYPE>_API_VERSION` follows it, where there are
        such settings.
        """
        return {type_: self._provider_url(type_, default) for type_, default in defaults.items()}

    def _provider_url(self, type_: str, default: str) -> str:
        url: str = getattr(self, f"{type_}_api_url", None) or default
        version: str | None = getattr(self, f"{type_}_api_version", None)
        return url if version is None else f"{url.rstrip('/')}/{version}"
