"""Messages as people look at them: a page of a project's list, and one with all that happened to it.

Lists walk the index (project_id, id) from the newest down; dates become id ranges, because an id
is a time, so that partitions outside them are not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, or_, select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import FieldError, MessageNotFound, ValidationFailed
from backend.models import ApiKey, Attempt, Connector, Event, Message, SendQueueRow, Template
from backend.models.partitions import first_id
from backend.models.send_queue import IN_FLIGHT
from backend.services.paging import Page, PageRequest
from backend.status import IN_PROGRESS, PENDING, Status

# Counting on is what makes long lists slow; past this the planner's estimate is good enough.
EXACT_TOTAL_LIMIT: Final = 10_000
# An id is made a little before its row is written, maybe on another machine's clock.
_CLOCK_SLACK: Final = timedelta(minutes=1)
_FIRST_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)
STATUSES: Final = ("pending", *Status)


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """All given conditions hold. `from_` and `to` are inclusive; `connector` is an id or a type."""

    status: str | None = None
    connector: UUID | str | None = None
    from_: datetime | None = None
    to: datetime | None = None
    key_id: UUID | None = None
    template_id: UUID | None = None
    recipient: str | None = None
    id: UUID | None = None
    mode: str | None = None


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """A message as a list shows it. `error` is the reason a person can act on."""

    id: UUID
    project_id: UUID
    key_id: UUID | None
    connector_id: UUID
    connector_type: str
    template_id: UUID | None
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
    created_at: datetime
    updated_at: datetime

    @property
    def shown_metadata(self) -> dict[str, Any]:
        """The user's metadata, and the provider's id of the message where reference 002 has it."""
        own = {"messageId": self.provider_message_id} if self.provider_message_id is not None else {}
        return {**(self.metadata or {}), **own}


_SUMMARY_COLUMNS: Final = tuple(field.name for field in fields(MessageSummary))


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A status the message took, and what was said about it."""

    status: str
    at: datetime
    reason: str = ""
    code: str = ""
    attempt_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class MessageDetail:
    """A message with its attempts (oldest first), its timeline, and the names of what it used."""

    summary: MessageSummary
    html: str | None
    provider_template: dict[str, Any] | None
    template_version: int | None
    connector_name: str | None
    template_name: str | None
    key_name: str | None
    attempts: Sequence[Attempt]
    timeline: Sequence[TimelineEntry]


async def list_messages(
    session: AsyncSession, *, project_id: UUID, filters: MessageFilter, page: PageRequest
) -> Page[MessageSummary]:
    """Newest first; raises ValidationFailed for a status that does not exist or a range upside down."""
    conditions = _conditions(project_id, filters)
    seek = [col(Message.id) < page.cursor] if page.cursor is not None else []
    matching = (
        select(Message)
        .where(*conditions, *seek)
        .order_by(col(Message.id).desc())
        .offset(page.offset)
        # One row more than asked for tells whether there is a next page.
        .limit(page.limit + 1)
    )
    rows = await _summaries(session, matching)
    items = rows[: page.limit]
    has_more = len(rows) > page.limit
    if page.cursor is None and not has_more and (items or page.offset == 0):
        total, is_estimate = page.offset + len(items), False
    else:
        total, is_estimate = await _total(session, conditions, _conditions(project_id, filters, is_exact=False))
    return Page(
        items=items,
        request=page,
        total=total,
        next_cursor=items[-1].id if has_more else None,
        is_total_estimate=is_estimate,
    )


async def message_detail(session: AsyncSession, *, project_id: UUID, message_id: UUID) -> MessageDetail:
    """Raises MessageNotFound, also for another project's message."""
    only = select(Message).where(col(Message.project_id) == project_id, col(Message.id) == message_id)
    rows = await _summaries(session, only)
    if not rows:
        raise MessageNotFound
    summary = rows[0]
    message = await Message.find(session, project_id, message_id)
    content: dict[str, Any] = message.content if message is not None else {}
    connector, template, key = await _names(session, summary)
    attempts = await Attempt.list_for_message(session, message_id)
    events = await Event.list_for_message(session, message_id)
    return MessageDetail(
        summary=summary,
        html=content.get("html"),
        provider_template=content.get("template"),
        template_version=message.template_version if message is not None else None,
        connector_name=connector,
        template_name=template,
        key_name=key,
        attempts=attempts,
        timeline=_timeline(summary, events),
    )


async def find_project_of(session: AsyncSession, message_id: UUID) -> UUID:
    """Return whose message it is, for the caller to check; raises MessageNotFound."""
    message = await Message.find_any(session, message_id)
    if message is None:
        raise MessageNotFound
    return message.project_id


async def _summaries(session: AsyncSession, matching: Select[Any]) -> list[MessageSummary]:
    """Return the rows of `matching` with the status a person sees; the queue is asked for these only."""
    page = matching.subquery("page")
    computed: dict[str, ColumnElement[Any]] = {
        "text": page.c.content["text"].astext,
        "subject": page.c.content["subject"].astext,
        "error": page.c.error_reason,
        "status": case(
            (and_(page.c.status.in_(IN_PROGRESS), col(SendQueueRow.state) == IN_FLIGHT), literal(Status.SENDING.value)),
            else_=page.c.status,
        ),
    }
    columns = [(computed[name] if name in computed else page.c[name]).label(name) for name in _SUMMARY_COLUMNS]
    query = (
        select(*columns)
        .select_from(page.outerjoin(SendQueueRow, col(SendQueueRow.message_id) == page.c.id))
        .order_by(page.c.id.desc())
    )
    connection = await session.connection()
    return [MessageSummary(*row) for row in (await connection.execute(query)).all()]


def _conditions(project_id: UUID, filters: MessageFilter, *, is_exact: bool = True) -> list[ColumnElement[bool]]:
    """`is_exact` False: what the planner needs for an estimate. It takes an id and its time for independent."""
    conditions = [col(Message.project_id) == project_id, *_id_range(filters)]
    if is_exact:
        conditions += _time_range(filters)
    if filters.status is not None:
        conditions += _has_status(project_id, filters.status)
    if isinstance(filters.connector, UUID):
        conditions.append(col(Message.connector_id) == filters.connector)
    elif filters.connector is not None:
        conditions.append(col(Message.connector_type) == filters.connector)
    if filters.recipient is not None:
        conditions.append(col(Message.recipient).in_(_recipient_forms(filters.recipient)))
    for column, value in (
        (col(Message.id), filters.id),
        (col(Message.key_id), filters.key_id),
        (col(Message.template_id), filters.template_id),
        (col(Message.mode), filters.mode),
    ):
        if value is not None:
            conditions.append(column == value)
    return conditions


def _id_range(filters: MessageFilter) -> list[ColumnElement[bool]]:
    since, until = filters.from_, filters.to
    if since is not None and until is not None and since > until:
        message = f"'from' ({since.isoformat()}) is after 'to' ({until.isoformat()}); swap them."
        raise ValidationFailed(errors=[FieldError("from", "VALIDATION_ERROR", message)])
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(col(Message.id) >= _boundary(since, -_CLOCK_SLACK))
    if until is not None:
        conditions.append(col(Message.id) < _boundary(until, _CLOCK_SLACK))
    return conditions


def _time_range(filters: MessageFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.from_ is not None:
        conditions.append(col(Message.created_at) >= filters.from_)
    if filters.to is not None:
        # Instants are shown in milliseconds, so `to` takes in its whole millisecond.
        is_last = filters.to > datetime.max.replace(tzinfo=UTC) - _CLOCK_SLACK
        end = filters.to if is_last else filters.to + timedelta(milliseconds=1)
        conditions.append(col(Message.created_at) < end)
    return conditions


def _boundary(instant: datetime, slack: timedelta) -> UUID:
    try:
        return first_id(max(instant + slack, _FIRST_INSTANT))
    except OverflowError:
        return first_id(max(instant, _FIRST_INSTANT))


def _has_status(project_id: UUID, status: str) -> list[ColumnElement[bool]]:
    """What still waits is found through the queue, which stays small however long the history is."""
    if status not in STATUSES:
        message = f"'{status[:40]}' is not a status; use one of: {', '.join(STATUSES)}."
        raise ValidationFailed(errors=[FieldError("status", "VALIDATION_ERROR", message)])
    stored = col(Message.status)
    queue = select(col(SendQueueRow.message_id)).where(col(SendQueueRow.project_id) == project_id)
    in_flight = queue.where(col(SendQueueRow.state) == IN_FLIGHT)
    if status == "pending":
        waiting = or_(stored.in_(PENDING), and_(stored == Status.SCHEDULED, col(Message.id).in_(in_flight)))
        return [waiting, col(Message.id).in_(queue)]
    if status == Status.SENDING:
        return [stored.in_(IN_PROGRESS), col(Message.id).in_(in_flight)]
    if status in {Status.QUEUED, Status.SCHEDULED}:
        at_rest = queue.where(col(SendQueueRow.state) != IN_FLIGHT)
        return [stored == status, col(Message.id).in_(at_rest)]
    return [stored == status]


def _recipient_forms(written: str) -> list[str]:
    """Return how a recipient may be stored that somebody wrote with spaces or without its plus."""
    plain = written.strip()
    compact = "".join(character for character in plain if character not in " -()./")
    forms = [plain, plain.lower()]
    if compact.lstrip("+").isdigit():
        forms += [compact, f"+{compact.lstrip('+')}"]
    return list(dict.fromkeys(forms))


async def _total(
    session: AsyncSession, conditions: Sequence[ColumnElement[bool]], rough: Sequence[ColumnElement[bool]]
) -> tuple[int, bool]:
    """Return the number of matching messages, and whether it is an estimate (then from `rough`)."""
    row = select(literal(1)).select_from(Message)
    connection = await session.connection()
    bounded = row.where(*conditions).limit(EXACT_TOTAL_LIMIT + 1).subquery()
    count = (await connection.execute(select(func.count()).select_from(bounded))).scalar_one()
    if count <= EXACT_TOTAL_LIMIT:
        return count, False
    compiled = row.where(*rough).compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    plan = (await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {compiled}", compiled.params)).scalar_one()
    return max(int(plan[0]["Plan"]["Plan Rows"]), count), True


async def _names(session: AsyncSession, summary: MessageSummary) -> tuple[str | None, str | None, str | None]:
    query = select(
        select(col(Connector.name)).where(col(Connector.id) == summary.connector_id).scalar_subquery(),
        select(col(Template.name)).where(col(Template.id) == summary.template_id).scalar_subquery(),
        select(col(ApiKey.name)).where(col(ApiKey.id) == summary.key_id).scalar_subquery(),
    )
    connection = await session.connection()
    connector, template, key = (await connection.execute(query)).one()
    return connector, template, key


def _timeline(summary: MessageSummary, events: Sequence[Event]) -> list[TimelineEntry]:
    """The first entry is the acceptance, which needs no event of its own."""
    first = Status.SCHEDULED if summary.send_at is not None and summary.send_at > summary.created_at else Status.QUEUED
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
