"""A look at a message before it is sent: everything that a send does, but write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.services.rendering.channels import SMS, channel_of
from backend.services.rendering.render import Rendered
from backend.services.rendering.sms_segments import SmsSize, measure
from backend.services.sending.prepare import SendRequest, compose, normalised_recipient

if TYPE_CHECKING:
    from uuid import UUID

    from backend.services.platform import Platform
    from backend.services.sending.caller import Caller


@dataclass(frozen=True, slots=True)
class MessagePreview:
    """`to` is the recipient as it would be stored, None when none was given. `sms` is set on SMS channels."""

    channel: str
    connector_id: UUID
    connector_type: str
    to: str | None
    rendered: Rendered
    sms: SmsSize | None


async def preview_message(platform: Platform, caller: Caller, request: SendRequest) -> MessagePreview:
    """Raises what a send of this request would raise, limits aside. An empty `to` is not checked."""
    composed = await compose(platform, caller, request)
    connector = composed.connector
    channel = channel_of(connector.type)
    return MessagePreview(
        channel=channel,
        connector_id=connector.id,
        connector_type=connector.type,
        to=normalised_recipient(connector.type, request.to) if request.to else None,
        rendered=composed.rendered,
        sms=measure(composed.rendered.text) if channel == SMS else None,
    )
