"""A connector's settings that are no secrets: how fast it sends, and how often it tries again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from backend.errors import FieldError, ValidationFailed
from backend.models.connector import LONGEST_RETRY_S
from backend.providers.frame.provider import Pacing, Retry

MOST_PER_SECOND: Final = 100_000
MOST_ATTEMPTS: Final = 100
Rate = Annotated[float, Field(gt=0, le=MOST_PER_SECOND)]
Seconds = Annotated[float, Field(gt=0, le=LONGEST_RETRY_S, strict=True)]


class PacingConfig(BaseModel):
    """Messages a second; null: unpaced. A field that is not there keeps the provider's default."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid"
    )

    per_second: Rate | None = None
    per_recipient_per_second: Rate | None = None


class RetryConfig(BaseModel):
    """A field that is not there, or null, keeps the provider's or the platform's setting."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid"
    )

    max_attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS, strict=True)] | None = None
    base_s: Seconds | None = None
    cap_s: Seconds | None = None
    max_age_s: Seconds | None = None


class ConnectorConfig(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid"
    )

    pacing: PacingConfig | None = None
    retry: RetryConfig | None = None


def check_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` as it is stored (camelCase, only what was set); raises ValidationFailed."""
    try:
        checked = ConnectorConfig.model_validate(config)
    except ValidationError as exc:
        raise ValidationFailed(
            errors=[
                FieldError(
                    ".".join(map(str, ("config", *error["loc"]))),
                    "VALIDATION_ERROR",
                    _sentence(error["msg"]),
                )
                for error in exc.errors(
                    include_url=False, include_context=False, include_input=False
                )
            ]
        ) from exc
    return checked.model_dump(by_alias=True, exclude_unset=True)


def effective_pacing(config: Mapping[str, Any], default: Pacing) -> Pacing:
    """Return the provider's pacing with the connector's own choices put over it."""
    if "pacing" not in config:
        return default
    chosen = config["pacing"]
    if chosen is None:
        return Pacing()
    return Pacing(
        per_second=chosen.get("perSecond", default.per_second),
        per_recipient_per_second=chosen.get(
            "perRecipientPerSecond", default.per_recipient_per_second
        ),
        # Anyone who chooses a pace for recipients chooses it for groups too.
        per_group_per_second=(
            None if "perRecipientPerSecond" in chosen else default.per_group_per_second
        ),
    )


def effective_retry(config: Mapping[str, Any], default: Retry) -> Retry:
    """Return the provider's retry settings with the connector's own put over them."""
    chosen = config.get("retry") or {}
    names = {
        "max_attempts": "maxAttempts",
        "base_s": "baseS",
        "cap_s": "capS",
        "max_age_s": "maxAgeS",
    }
    ours = {name: chosen[alias] for name, alias in names.items() if chosen.get(alias) is not None}
    return replace(default, **ours)


def _sentence(message: str) -> str:
    return message.removesuffix(".") + "."
