"""What narrows a project's lists: query parameters, and the texts that a filter of messages is made
of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Query

from backend import ids
from backend.errors import FieldError, ValidationFailed
from backend.json_values import find_flaw
from backend.provider_types import provider_of
from backend.services.lists.filters import Wanted
from backend.services.reporting.instants import parse_instant
from backend.services.reporting.messages import MessageFilter


def storable_text(field: str, value: str | None) -> str | None:
    """Raises ValidationFailed."""
    if (flaw := find_flaw(value, field)) is not None:
        raise ValidationFailed(errors=[FieldError(field, "VALIDATION_ERROR", flaw.message)])
    return value


async def _wanted(
    q: Annotated[
        str | None, Query(max_length=255, description="A part of the name, in upper or lower case")
    ] = None,
    is_active: Annotated[
        bool | None, Query(alias="isActive", description="Only active ones, or only the others")
    ] = None,
) -> Wanted:
    return Wanted(q=storable_text("q", q), is_active=is_active)


WantedDep = Annotated[Wanted, Depends(_wanted)]


async def _wanted_of_type(
    wanted: WantedDep,
    connector_type: Annotated[
        str | None,
        Query(
            alias="connectorType",
            max_length=50,
            description="Only of this type",
            examples=["whatsapp"],
        ),
    ] = None,
) -> Wanted:
    return replace(wanted, connector_type=storable_text("connectorType", connector_type))


WantedOfTypeDep = Annotated[Wanted, Depends(_wanted_of_type)]


def message_filter(
    *,
    status: str | None = None,
    connector: str | None = None,
    from_: str | None = None,
    to: str | None = None,
    key_id: str | None = None,
    template_id: str | None = None,
    campaign_id: str | None = None,
    recipient: str | None = None,
    message_id: str | None = None,
    mode: Literal["live", "test"] | None = None,
) -> MessageFilter:
    """Read what clients wrote; "" counts as left out. Raises ValidationFailed."""
    return MessageFilter(
        status=status or None,
        connector=_connector(connector) if connector else None,
        from_=parse_instant(from_, field="from") if from_ else None,
        to=parse_instant(to, field="to", end_of_day=True) if to else None,
        key_id=_id(ids.KEY, key_id, "keyId"),
        template_id=_id(ids.TEMPLATE, template_id, "templateId"),
        campaign_id=_id(ids.CAMPAIGN, campaign_id, "campaignId"),
        recipient=(storable_text("recipient", recipient) or "").strip() or None,
        id=_id(ids.MESSAGE, message_id, "id"),
        mode=mode,
    )


def _connector(text: str) -> UUID | str:
    if text.startswith(f"{ids.CONNECTOR}_"):
        return _id(ids.CONNECTOR, text, "connector") or text
    return provider_of(text, field="connector").type


def _id(prefix: str, text: str | None, field: str) -> UUID | None:
    if not text:
        return None
    value = ids.decode(prefix, text)
    if value is None:
        message = f"'{text[:80]}' is not an id; it reads {prefix}_ and 26 characters."
        raise ValidationFailed(errors=[FieldError(field, "VALIDATION_ERROR", message)])
    return value
