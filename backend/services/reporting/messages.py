"""Messages as people look at them: a page of a project's list, or one message with its history.

A list walks an index from the newest down, and only where messages match (message_ranges.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, literal, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import MessageNotFound
from backend.ledger.content import Content, MessageRoute
from backend.models import ApiKey, Attempt, Connector, Event, Message, SendQueueRow, Template
from backend.models.send_queue import IN_FLIGHT
from backend.services.access.access import Access, Action
from backend.services.lists.paging import Page, PageRequest
from backend.services.messages.message_filters import MessageFilter, filter_conditions, within
from backend.services.reporting.message_ranges import (
    Ranges,
    find_ranges,
    is_driven_by_queue,
    newest,
    waiting,
)
from backend.services.reporting.message_totals import Total, count_matching
from backend.status import IN_PROGRESS, Status

__all__ = [
    "MessageDetail",
    "MessageFilter",
    "MessageSummary",
    "RouteSummary",
    "TimelineEntry",
    "find_project_of",
    "list_messages",
    "message_detail",
    "page_of_rows",
    "summaries_of",
]


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """A message as a list shows it. `error` is the reason, for a person to act on."""

    id: UUID
    project_id: UUID
    key_id: UUID | None
    connector_id: UUID
    connector_type: str
    template_id: UUID | None
    resent_from: UUID | None
    mode: str
    recipient: str
    text: str | None
    subject: str | None
    status: str
    priority: str
    metadata: dict[str, Any] | None
    provider_message_id: str | None
    attempts: int
    error_code: str | None
    error: str | None
    send_at: datetime | None
    expires_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    failed_at: datetime | None
    redacted_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def shown_metadata(self) -> dict[str, Any]:
        """Return the user's metadata with the provider's message id, as reference 002 has it."""
        metadata = dict(self.metadata or {})
        if self.provider_message_id is not None:
            metadata["messageId"] = self.provider_message_id
        return metadata


_SUMMARY_COLUMNS: Final = tuple(field.name for field in fields(MessageSummary))


# With these statuses no further way will be taken.
_OVER: Final = frozenset(Status) - frozenset(IN_PROGRESS) - {Status.SENT, Status.UNCERTAIN}


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A status that the message took, and what was said about it."""

    status: str
    at: datetime
    reason: str = ""
    code: str = ""
    attempt_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class WaySummary:
    """A way of a message that has several.

    `state`: current (the message's status is its own), left (tried, then given up), skipped (could
    not be used), waiting (may be taken next) or unused.
    """

    connector_id: UUID
    connector_type: str
    recipient: str
    on: str
    state: str


@dataclass(frozen=True, slots=True)
class RouteSummary:
    ways: Sequence[WaySummary]
    fallback_after_s: float | None


@dataclass(frozen=True, slots=True)
class MessageDetail:
    """A message with its attempts (oldest first), its timeline, and the names of what it used.

    `route` is set if it has more than one way.
    """

    summary: MessageSummary
    html: str | None
    provider_template: dict[str, Any] | None
    template_version: int | None
    connector_name: str | None
    template_name: str | None
    key_name: str | None
    attempts: Sequence[Attempt]
    timeline: Sequence[TimelineEntry]
    route: RouteSummary | None


async def list_messages(
    session: AsyncSession, access: Access, *, filters: MessageFilter, page: PageRequest
) -> Page[MessageSummary]:
    """Return a page, newest first.

    Raises KeyScope, and ValidationFailed for an unknown status, or a range that ends before it
    begins.
    """
    access.require(Action.VIEW_MESSAGES)
    filters = within(access, filters)
    rows = await page_of_rows(session, project_id=access.project_id, filters=filters, page=page)
    items = rows[: page.limit]
    has_more = len(rows) > page.limit
    if page.cursor is None and not has_more and (items or page.offset == 0):
        total = Total(page.offset + len(items))
    else:
        total = await count_matching(session, access.project_id, filters)
    return Page(
        items=items,
        request=page,
        total=total.messages,
        next_cursor=items[-1].id if has_more else None,
        is_total_estimate=total.is_estimate,
    )


async def page_of_rows(
    session: AsyncSession, *, project_id: UUID, filters: MessageFilter, page: PageRequest
) -> list[MessageSummary]:
    """Like list_messages, but without a total.

    It has one row more than the page asks for, if there is a next page.
    """
    filter_conditions(project_id, filters)  # refuses impossible conditions before it looks
    most = page.offset + page.limit + 1
    ranges = await find_ranges(session, project_id, filters, most=most, before=page.cursor)
    return await _rows(session, project_id, filters, page, ranges)


async def _rows(
    session: AsyncSession,
    project_id: UUID,
    filters: MessageFilter,
    page: PageRequest,
    ranges: Ranges | None,
) -> list[MessageSummary]:
    most = page.limit + 1
    if is_driven_by_queue(filters):
        query = waiting(project_id, filters, before=page.cursor)
    else:
        conditions = filter_conditions(project_id, filters)
        if page.cursor is not None:
            conditions.append(col(Message.id) < page.cursor)
        query = newest(conditions, ranges, most=page.offset + most)
    query = query.offset(page.offset).limit(most)
    rows = await summaries_of(session, query)
    if ranges is not None and ranges.is_cut and len(rows) < most:
        # The messages that were counted there have changed since; look everywhere.
        return await _rows(session, project_id, filters, page, None)
    return rows


async def message_detail(
    session: AsyncSession, access: Access, *, message_id: UUID
) -> MessageDetail:
    """Raises MessageNotFound, also for another project's message or a hidden mode."""
    access.require(Action.VIEW_MESSAGES)
    only = select(Message).where(
        col(Message.project_id) == access.project_id, col(Message.id) == message_id
    )
    rows = await summaries_of(session, only)
    if not rows or access.only_mode not in {None, rows[0].mode}:
        raise MessageNotFound
    summary = rows[0]
    message = await Message.find(session, access.project_id, message_id)
    content = Content.left_of(message.content if message is not None else {})
    connector, template, key = await _names(session, summary)
    attempts = await Attempt.list_for_message(session, message_id)
    events = await Event.list_for_message(session, message_id)
    return MessageDetail(
        summary=summary,
        html=content.html,
        provider_template=content.template,
        template_version=message.template_version if message is not None else None,
        connector_name=connector,
        template_name=template,
        key_name=key,
        attempts=attempts,
        timeline=_timeline(summary, events),
        route=(
            _route(message, MessageRoute.of(message.route), events)
            if message is not None and message.route is not None
            else None
        ),
    )


async def find_project_of(session: AsyncSession, message_id: UUID) -> UUID:
    """Return the message's project; check the caller's access to it. Raises MessageNotFound."""
    message = await Message.find_any(session, message_id)
    if message is None:
        raise MessageNotFound
    return message.project_id


async def summaries_of(session: AsyncSession, matching: Select[Any]) -> list[MessageSummary]:
    """Return the rows of `matching` with the status that a person sees.

    Only these rows are looked up in the queue.
    """
    page = matching.subquery("page")
    computed: dict[str, ColumnElement[Any]] = {
        "text": page.c.content["text"].astext,
        "subject": page.c.content["subject"].astext,
        "error": page.c.error_reason,
        "status": case(
            (
                and_(page.c.status.in_(IN_PROGRESS), col(SendQueueRow.state) == IN_FLIGHT),
                literal(Status.SENDING.value),
            ),
            else_=page.c.status,
        ),
    }
    columns = [
        (computed[name] if name in computed else page.c[name]).label(name)
        for name in _SUMMARY_COLUMNS
    ]
    query = (
        select(*columns)
        .select_from(page.outerjoin(SendQueueRow, col(SendQueueRow.message_id) == page.c.id))
        .order_by(page.c.id.desc())
    )
    connection = await session.connection()
    return [MessageSummary(*row) for row in (await connection.execute(query)).all()]


async def _names(
    session: AsyncSession, summary: MessageSummary
) -> tuple[str | None, str | None, str | None]:
    query = select(
        select(col(Connector.name))
        .where(col(Connector.id) == summary.connector_id)
        .scalar_subquery(),
        select(col(Template.name)).where(col(Template.id) == summary.template_id).scalar_subquery(),
        select(col(ApiKey.name)).where(col(ApiKey.id) == summary.key_id).scalar_subquery(),
    )
    connection = await session.connection()
    connector, template, key = (await connection.execute(query)).one()
    return connector, template, key


def _route(message: Message, route: MessageRoute, events: Sequence[Event]) -> RouteSummary:
    tried = {0, *(event.data.get("step") for event in events if event.type == "message.fallback")}
    is_over = message.status in _OVER
    ways = []
    for index, step in enumerate(route.steps):
        if index == message.step:
            state = "current"
        elif index < message.step:
            state = "left" if index in tried else "skipped"
        else:
            state = "unused" if is_over else "waiting"
        ways.append(
            WaySummary(step.connector_id, step.connector_type, step.recipient, step.on, state)
        )
    return RouteSummary(ways, route.fallback_after_s)


def _timeline(summary: MessageSummary, events: Sequence[Event]) -> list[TimelineEntry]:
    """The first entry is the acceptance, which has no event of its own."""
    first = (
        Status.SCHEDULED
        if summary.send_at is not None and summary.send_at > summary.created_at
        else Status.QUEUED
    )
    entries = [TimelineEntry(first.value, summary.created_at)]
    for event in events:
        attempt_id = event.data.get("attemptId")
        entries.append(
            TimelineEntry(
                status=event.type.removeprefix("message."),
                at=event.created_at,
                reason=event.data.get("reason", ""),
                code=event.data.get("code", ""),
                attempt_id=UUID(attempt_id) if attempt_id else None,
            )
        )
    return entries
