"""A look at a message before it is sent: everything that a send does, but write it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.services.policy.request import SendRequest
from backend.services.sending.compose import compose
from backend.services.templates.channels import SMS, channel_of
from backend.services.templates.render import Rendered
from backend.services.templates.sms_segments import SmsSize, measure

if TYPE_CHECKING:
    from uuid import UUID

    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender
    from backend.services.routing.ways import Way


@dataclass(frozen=True, slots=True)
class MessagePreview:
    """`to` is the recipient as it would be stored, None when none was given.

    `sms` is set on SMS channels.

    `fallbacks`: the ways that follow, in order.
    """

    channel: str
    connector_id: UUID
    connector_type: str
    to: str | None
    rendered: Rendered
    sms: SmsSize | None
    fallbacks: list[MessagePreview] = field(default_factory=list)


async def preview_message(path: SendPath, sender: Sender, request: SendRequest) -> MessagePreview:
    """Raises what a send of this request would raise, limits aside.

    An empty `to` is not checked.
    """
    composed = await compose(path, sender, request)
    first, *others = [
        _preview(way, composed.rendered[way.connector.type]) for way in composed.ways.steps
    ]
    first.fallbacks.extend(others)
    return first


def _preview(way: Way, rendered: Rendered) -> MessagePreview:
    channel = channel_of(way.connector.type)
    return MessagePreview(
        channel=channel,
        connector_id=way.connector.id,
        connector_type=way.connector.type,
        to=way.recipient or None,
        rendered=rendered,
        sms=measure(rendered.text) if channel == SMS else None,
    )
