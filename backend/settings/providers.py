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
        """Base URL per provider type, as the adapters expect it."""
        return {
            "whatsapp": f"{self.whatsapp_api_url.rstrip('/')}/{self.whatsapp_api_version}",
            "telegram": self.telegram_api_url,
            "twilio": self.twilio_api_url.rstrip("/"),
            "slack": self.slack_api_url.rstrip("/"),
            "discord": self.discord_api_url.rstrip("/"),
            "exotel": self.exotel_api_url.rstrip("/"),
        }
