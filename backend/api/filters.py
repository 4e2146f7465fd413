"""The query parameters that narrow a project's lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query

from backend.api.schemas.base import has_nul
from backend.errors import FieldError, ValidationFailed
from backend.services.filters import Wanted


def _text(field: str, value: str | None) -> str | None:
    if has_nul(value):
        message = f"'{field}' contains a NUL character, which no stored text has; remove it."
        raise ValidationFailed(errors=[FieldError(field, "VALIDATION_ERROR", message)])
    return value


async def _wanted(
    q: Annotated[str | None, Query(max_length=255, description="A part of the name, in upper or lower case")] = None,
    is_active: Annotated[
        bool | None, Query(alias="isActive", description="Only active ones, or only the others")
    ] = None,
) -> Wanted:
    return Wanted(q=_text("q", q), is_active=is_active)


WantedDep = Annotated[Wanted, Depends(_wanted)]


async def _wanted_of_type(
    wanted: WantedDep,
    connector_type: Annotated[
        str | None, Query(alias="connectorType", max_length=50, description="Only of this type", examples=["whatsapp"])
    ] = None,
) -> Wanted:
    return replace(wanted, connector_type=_text("connectorType", connector_type))


WantedOfTypeDep = Annotated[Wanted, Depends(_wanted_of_type)]
