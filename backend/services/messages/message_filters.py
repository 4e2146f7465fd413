"""Which messages a list or an export shows, as conditions on their rows.

Dates become id ranges, because an id is a time, so that partitions outside them are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select, true
from sqlmodel import col

from backend.errors import FieldError, ValidationFailed
from backend.models import Message, SendQueueRow
from backend.models.partitions import first_id
from backend.models.send_queue import IN_FLIGHT
from backend.services.access.access import Access, Mode
from backend.status import IN_PROGRESS, PENDING, Status

# An id is made a little before its row is written, maybe on another machine's clock.
CLOCK_SLACK: Final = timedelta(minutes=1)
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
    campaign_id: UUID | None = None
    recipient: str | None = None
    id: UUID | None = None
    mode: Mode | None = None

    @property
    def is_waiting(self) -> bool:
        """Tell whether only messages match that the queue knows."""
        return self.status == "pending" or self.status in IN_PROGRESS


def within(access: Access, filters: MessageFilter) -> MessageFilter:
    """Return the filter within the mode that may be seen. Raises KeyScope."""
    return replace(filters, mode=access.mode_seen(filters.mode))


def filter_conditions(
    project_id: UUID,
    filters: MessageFilter,
    *,
    is_exact: bool = True,
    queue_state: ColumnElement[int] | None = None,
) -> list[ColumnElement[bool]]:
    """Raises ValidationFailed.

    `is_exact` False: what the planner needs for an estimate. It takes an id and its time for
    independent. `queue_state`: of the message's queue row, where the query begins with that.
    """
    conditions = [col(Message.project_id) == project_id, *_id_range(filters)]
    if is_exact:
        conditions += _time_range(filters)
    if filters.status is not None:
        conditions += _has_status(project_id, filters.status, queue_state)
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
        (col(Message.campaign_id), filters.campaign_id),
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
        conditions.append(col(Message.id) >= id_at(since, -CLOCK_SLACK))
    if until is not None:
        conditions.append(col(Message.id) < id_at(until, CLOCK_SLACK))
    return conditions


def _time_range(filters: MessageFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.from_ is not None:
        conditions.append(col(Message.created_at) >= filters.from_)
    if filters.to is not None:
        # Instants are shown in milliseconds, so `to` takes in its whole millisecond.
        is_last = filters.to > datetime.max.replace(tzinfo=UTC) - CLOCK_SLACK
        end = filters.to if is_last else filters.to + timedelta(milliseconds=1)
        conditions.append(col(Message.created_at) < end)
    return conditions


def id_at(instant: datetime, slack: timedelta) -> UUID:
    try:
        return first_id(max(instant + slack, _FIRST_INSTANT))
    except OverflowError:
        return first_id(max(instant, _FIRST_INSTANT))


def _has_status(
    project_id: UUID, status: str, queue_state: ColumnElement[int] | None
) -> list[ColumnElement[bool]]:
    """What still waits is found through the queue, which stays small however long the history
    is.
    """
    if status not in STATUSES:
        message = f"'{status[:40]}' is not a status; use one of: {', '.join(STATUSES)}."
        raise ValidationFailed(errors=[FieldError("status", "VALIDATION_ERROR", message)])
    stored = col(Message.status)
    queue = select(col(SendQueueRow.message_id)).where(col(SendQueueRow.project_id) == project_id)

    def queued(*states: ColumnElement[bool]) -> ColumnElement[bool]:
        return col(Message.id).in_(queue.where(*states))

    if queue_state is None:
        is_in_queue, state = queued(), col(SendQueueRow.state)
        in_flight, at_rest = queued(state == IN_FLIGHT), queued(state != IN_FLIGHT)
    else:
        is_in_queue, in_flight, at_rest = true(), queue_state == IN_FLIGHT, queue_state != IN_FLIGHT
    if status == "pending":
        return [or_(stored.in_(PENDING), and_(stored == Status.SCHEDULED, in_flight)), is_in_queue]
    if status == Status.SENDING:
        return [stored.in_(IN_PROGRESS), in_flight]
    if status in {Status.QUEUED, Status.SCHEDULED}:
        return [stored == status, at_rest]
    return [stored == status]


def _recipient_forms(written: str) -> list[str]:
    """Return how a recipient may be stored that somebody wrote with spaces or without its plus."""
    plain = written.strip()
    compact = "".join(character for character in plain if character not in " -()./")
    forms = [plain, plain.lower()]
    if compact.lstrip("+").isdigit():
        forms += [compact, f"+{compact.lstrip('+')}"]
    return list(dict.fromkeys(forms))
