"""Where providers' APIs are, so that a fake or an on-premise server can stand in."""

from __future__ import annotations

from pydantic import Field

from backend.settings.base import Base


class ProviderSettings(Base):
    whatsapp_api_url: str = Field(
        "https://graph.facebook.com", description="Where WhatsApp's API is"
    )
    whatsapp_api_version: str = Field("v23.0", description="The version of Meta's Graph API")
    telegram_api_url: str = Field(
        "https://api.telegram.org/bot", description="Where Telegram's Bot API is"
    )
    twilio_api_url: str = Field("https://api.twilio.com", description="Where Twilio's API is")
    slack_api_url: str = Field(
        "https://slack.com/api", description="For a later version: Slack's API"
    )
    discord_api_url: str = Field(
        "https://discord.com/api/v10", description="For a later version: Discord's API"
    )
    exotel_api_url: str = Field(
        "https://api.exotel.com", description="For a later version: Exotel's API"
    )
    allow_private_network: bool = Field(
        False, description="Let tenants connect to private and loopback hosts"
    )

    def provider_urls(self) -> dict[str, str]:
        """Return the base URL of each provider type that has a <TYPE>_API_URL, with its version."""
        urls: dict[str, str] = {}
        for name in ProviderSettings.model_fields:
            provider_type, is_url, _ = name.partition("_api_url")
            if is_url:
                version = getattr(self, f"{provider_type}_api_version", "")
                urls[provider_type] = "/".join(
                    filter(None, (getattr(self, name).rstrip("/"), version))
                )
        return urls
