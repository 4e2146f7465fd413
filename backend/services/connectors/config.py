"""A connector's settings that are no secrets: today its pacing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from backend.errors import FieldError, ValidationFailed
from backend.providers._base import Pacing

MOST_PER_SECOND: Final = 100_000
Rate = Annotated[float, Field(gt=0, le=MOST_PER_SECOND)]


class PacingConfig(BaseModel):
    """Messages a second; null: unpaced. A field that is not there keeps the provider's default."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid")

    per_second: Rate | None = None
    per_recipient_per_second: Rate | None = None


class ConnectorConfig(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid")

    pacing: PacingConfig | None = None


def check_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` as it is stored (camelCase, only what was set); raises ValidationFailed."""
    try:
        checked = ConnectorConfig.model_validate(config)
    except ValidationError as exc:
        raise ValidationFailed(
            errors=[
                FieldError(".".join(map(str, ("config", *error["loc"]))), "VALIDATION_ERROR", _sentence(error["msg"]))
                for error in exc.errors(include_url=False, include_context=False, include_input=False)
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
        per_recipient_per_second=chosen.get("perRecipientPerSecond", default.per_recipient_per_second),
    )


def _sentence(message: str) -> str:
    return message.removesuffix(".") + "."
