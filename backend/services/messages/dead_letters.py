"""Which messages are dead letters: given up although another try may help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, true
from sqlmodel import col

from backend.models import DeadLetter, Message
from backend.services.messages.message_filters import MessageFilter, filter_conditions
from backend.status import Status


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """`code`: why they were given up.

    Of `messages`, times are those of acceptance, and a status is not asked for.
    """

    messages: MessageFilter
    code: str | None = None


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
