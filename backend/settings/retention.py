"""How much is kept of callbacks, content and messages, and for how long."""

from __future__ import annotations

from pydantic import Field

from backend.settings.base import Base


class RetentionSettings(Base):
    callback_limit_bytes: int = Field(
        3 * 1024 * 1024, ge=1024, description="Largest callback of a provider"
    )
    callback_retention_days: int = Field(
        7, ge=1, le=365, description="How long providers' callbacks are kept as they came"
    )
    callback_kept_bytes: int = Field(
        32 * 1024 * 1024,
        ge=0,
        description="Bytes of callbacks kept as they came, per connector and day",
    )
    content_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="Days until content is removed, unless the project sets its own; 0: never",
    )
    retention_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="Days until messages are removed, unless the project sets its own; 0: never",
    )
