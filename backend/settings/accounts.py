"""Users: their log-ins, who may register, and the mail that is sent to them."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from backend.durations import parse_duration_s
from backend.settings.base import LONGEST_S, Base


class AccountSettings(Base):
    # "15m", "7d" or seconds.
    jwt_expires_in: Annotated[int, NoDecode] = Field(15 * 60, description="Life of an access token")
    jwt_refresh_expires_in: Annotated[int, NoDecode] = Field(
        7 * 24 * 3600, description="Life of a refresh token"
    )
    bcrypt_cost: int = Field(
        11,
        ge=4,
        le=16,
        description="A password's hash takes 2^cost rounds; only tests go below 10",
    )
    registration: Literal["open", "invite", "closed"] = Field(
        "open",
        description=(
            "Who may register. Unset: open where only this machine reaches the server, else invite,"
            " which still lets the first user register"
        ),
    )
    login_attempts_per_account: int = Field(
        10,
        ge=1,
        description=(
            "Failed logins per account, address and 15 minutes; ten times as many per hour from all"
            " addresses"
        ),
    )
    login_attempts_per_address: int = Field(
        50, ge=1, description="Failed logins per address and 15 minutes"
    )
    registrations_per_address: int = Field(
        20, ge=0, description="Accounts an address may create per hour; 0: off"
    )
    platform_smtp_url: SecretStr | None = Field(
        None,
        description=(
            "Mail server for password resets and invitations:"
            " smtp[s]://user:password@host:587?from=hello@example.com[&security=none]; empty: links"
            " go to the log"
        ),
    )
    projects_per_user: int = Field(
        100, ge=0, description="Projects a user may create, not counting deleted ones; 0: no limit"
    )

    @field_validator("jwt_expires_in", "jwt_refresh_expires_in", mode="before")
    @classmethod
    def _duration(cls, value: object) -> int:
        seconds = parse_duration_s(value)
        if seconds > LONGEST_S:
            raise ValueError(f"'{value}' is longer than 3650d; set a shorter time")
        return seconds

    @field_validator("platform_smtp_url")
    @classmethod
    def _is_smtp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = urlsplit(value.get_secret_value())
            try:
                is_complete = (
                    parts.scheme in {"smtp", "smtps"} and parts.hostname and parts.port != 0
                )
            except ValueError:  # the port is not a number
                is_complete = False
            if not is_complete:
                raise ValueError("must read smtp://user:password@host:587?from=hello@example.com")
        return value

    @property
    def mail_enabled(self) -> bool:
        """Whether this server can send mail itself; otherwise links are printed to the log."""
        return self.platform_smtp_url is not None
