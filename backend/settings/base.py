"""What the parts of the settings share: where they are read, bounds, and what is missing."""

from __future__ import annotations

from types import NoneType
from typing import Final, get_args

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DAY_S: Final = 24 * 3600
# Now, or any earlier time, plus this is an instant that the database and Python can hold.
LONGEST_S: Final = 3650 * DAY_S


class MissingSetting(Exception):
    """A variable that this process needs is not set."""


class Base(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        case_sensitive=False,
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object, info: ValidationInfo) -> object:
        """Compose files pass "" for what is not set: None, where a field may be that."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if value == "" and NoneType in get_args(annotation):
            return None
        return value


def required(value: SecretStr | None, name: str, example: str) -> str:
    """Raises MissingSetting."""
    if value is None:
        raise MissingSetting(f"{name} is not set; set it to {example}.")
    return value.get_secret_value()
