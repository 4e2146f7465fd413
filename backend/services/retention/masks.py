"""What stays of a message whose content is masked: its shape without its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backend.services.templates.channels import EMAIL, SMS, channel_of, channel_type

MASK: Final = "\N{BULLET}"
_VISIBLE: Final = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class Unfilled:
    """A version of a template, as it was written."""

    connector_type: str
    name: str
    content: str
    subject: str | None
    html: str | None
    variants: Mapping[str, Any]


def masked_content(
    content: Mapping[str, Any], connector_type: str, template: Unfilled | None
) -> dict[str, Any]:
    """Return the content with variables unfilled; without a template, as many bullets as it had
    characters.
    """
    masked: dict[str, Any] = {"text": _masked(content.get("text"))}
    if content.get("subject") is not None:
        masked["subject"] = _masked(content["subject"])
    if (provider_template := content.get("template")) is not None:
        parameters = [MASK * 3 for _ in provider_template.get("parameters") or ()]
        masked["template"] = {**provider_template, "parameters": parameters}
    if template is None:
        return masked
    channel = channel_of(channel_type(connector_type, template.connector_type))
    variant = template.variants.get(channel) or {}
    masked["text"] = (
        variant.get("content", template.content) if channel == SMS else template.content
    )
    if channel == EMAIL:
        masked["subject"] = variant.get("subject") or template.subject or template.name
        if html := variant.get("html") or template.html:
            masked["html"] = html
    return masked


def masked_recipient(recipient: str) -> str:
    """Return enough to tell recipients of a support case apart, and too little to write to one.

    A mail address keeps its first character and domain, anything else two at each end, a short one
    nothing.
    """
    name, at, domain = recipient.rpartition("@")
    if at and name:
        return f"{name[0]}{MASK * 3}@{domain}"
    if len(recipient) < 8:
        return MASK * 3
    return f"{recipient[:2]}{MASK * 3}{recipient[-2:]}"


def _masked(text: Any) -> str:
    return _VISIBLE.sub(MASK, text) if isinstance(text, str) else ""
