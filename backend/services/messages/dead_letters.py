"""Which messages are dead letters: given up although another try may help."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select, true
from sqlmodel import col

from backend import ids
from backend.models import DeadLetter, Message
from backend.services.access.access import Access
from backend.services.messages.message_filters import MessageFilter, filter_conditions, within
from backend.status import Status


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """`code`: why they were given up.

    Of `messages`, times are those of acceptance, and a status is not asked for.
    """

    messages: MessageFilter
    code: str | None = None

    def described(self) -> dict[str, str]:
        """Return what the audit log says of it; recipients do not belong there."""
        expected = self.messages
        named = {
            "connector": expected.connector,
            "code": self.code,
            "from": expected.from_,
            "to": expected.to,
            "keyId": expected.key_id,
            "templateId": expected.template_id,
            "campaignId": expected.campaign_id,
            "mode": expected.mode,
        }
        return {name: _text(name, value) for name, value in named.items() if value is not None}


_PREFIXES: Final = {
    "connector": ids.CONNECTOR,
    "keyId": ids.KEY,
    "templateId": ids.TEMPLATE,
    "campaignId": ids.CAMPAIGN,
}


def _text(name: str, value: object) -> str:
    if isinstance(value, UUID):
        return ids.encode(_PREFIXES[name], value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def within_mode(access: Access, filters: DeadLetterFilter) -> DeadLetterFilter:
    """Return the filter within the mode that may be seen. Raises KeyScope."""
    return replace(filters, messages=within(access, filters.messages))


def select_dead(project_id: UUID, filters: DeadLetterFilter) -> Select[Any]:
    """Return the select of messages that are dead letters. Raises ValidationFailed.

    A receipt may still have come and settled one: then it is none any more.
    """
    conditions = [
        col(Message.status) == Status.FAILED,
        *filter_conditions(project_id, filters.messages),
    ]
    if filters.code is not None:
        conditions.append(col(Message.error_code) == filters.code)
    message = (
        select(*Message.__table__.columns)  # type: ignore[attr-defined]
        .where(col(Message.id) == col(DeadLetter.message_id), *conditions)
        .limit(1)
        .correlate(DeadLetter)
        .lateral("message")
    )
    return (
        select(*message.c)
        .select_from(DeadLetter)
        .join(message, true())
        .where(col(DeadLetter.project_id) == project_id)
    )
