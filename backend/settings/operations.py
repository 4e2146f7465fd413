"""What an operator sees: logs, reports of errors, and the watchdog."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from backend import server_urls
from backend.settings.base import Base


class OperationSettings(Base):
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged"
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on a terminal"
    )
    watchdog_s: float = Field(
        30.0,
        ge=0,
        description=(
            "A web or worker process whose event loop hangs for this long is ended; 0: never"
        ),
    )
    sentry_dsn: SecretStr | None = Field(None, description="Report unexpected errors to Sentry")

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("sentry_dsn")
    @classmethod
    def _is_sentry_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            server_urls.check_sentry_dsn(value.get_secret_value())
        return value
