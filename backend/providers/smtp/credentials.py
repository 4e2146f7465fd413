"""What a mail server needs to let us in, and the address that mail comes from."""

from __future__ import annotations

from typing import Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import Field, SecretStr, field_validator, model_validator

from backend.providers.frame import Credentials, InvalidRecipient
from backend.providers.frame.network import is_host
from backend.providers.smtp.mail import UNSAFE_IN_HEADER


class SmtpCredentials(Credentials):
    host: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9._:\[\]-]+$",
        title="Host",
        json_schema_extra={"placeholder": "smtp.example.com", "destination": True},
    )
    port: int = Field(
        587,
        ge=1,
        le=65535,
        title="Port",
        description="587 with STARTTLS, 465 with TLS.",
        json_schema_extra={"destination": True},
    )
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        title="Security",
        description="Use None only for servers in a private network.",
        json_schema_extra={
            "optionLabels": {"starttls": "STARTTLS", "tls": "TLS", "none": "None"},
            "destination": True,
        },
    )
    username: str | None = Field(
        None, max_length=320, title="Username", json_schema_extra={"destination": True}
    )
    password: SecretStr | None = Field(None, title="Password")
    from_address: str | None = Field(
        None,
        title="From address",
        description="If empty, the username is used, provided it is an address.",
        json_schema_extra={"placeholder": "hello@example.com", "destination": False},
    )
    from_name: str | None = Field(
        None,
        max_length=200,
        title="From name",
        json_schema_extra={"placeholder": "Harbour Clinic", "destination": False},
    )

    @field_validator("host")
    @classmethod
    def _can_be_looked_up(cls, value: str) -> str:
        if not is_host(value):
            raise ValueError("must be a host name or IP address like 'smtp.example.com'")
        return value

    @field_validator("username", "from_name")
    @classmethod
    def _is_one_line(cls, value: str | None) -> str | None:
        if value is not None and UNSAFE_IN_HEADER.search(value):
            raise ValueError("must be one line without control characters")
        return value

    @field_validator("from_address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        try:
            return None if value is None else email_address(value)
        except InvalidRecipient as exc:
            raise ValueError("must be an e-mail address like 'hello@example.com'") from exc

    @model_validator(mode="after")
    def _login_is_complete(self) -> SmtpCredentials:
        if (self.username is None) != (self.password is None):
            raise ValueError(
                "username and password go together; give both, or neither for a server without"
                " login"
            )
        if not self.sender:
            raise ValueError(
                "fromAddress is needed because username is not an e-mail address; give one"
            )
        return self

    @property
    def sender(self) -> str:
        """The address that mail comes from: fromAddress, or the username if that is an address."""
        if self.from_address is not None:
            return self.from_address
        try:
            return email_address(self.username or "")
        except InvalidRecipient:
            return ""


def email_address(text: str) -> str:
    """Return the address in its normal form (ASCII if it has one); raises InvalidRecipient."""
    stripped = text.strip()
    try:
        # `test_environment` allows '.test', the domain reserved for tests (RFC 2606).
        checked = validate_email(stripped, check_deliverability=False, test_environment=True)
    except EmailNotValidError as exc:
        raise InvalidRecipient(
            f"'{stripped[:80]}' is not an e-mail address; write it like 'ada@example.com'."
        ) from exc
    return checked.ascii_email or checked.normalized
