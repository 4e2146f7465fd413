"""Messages written straight into the tables, as old or as odd as a test needs them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from backend.ids import new_id
from backend.models import Message, SendQueueRow
from backend.models.partitions import first_id
from backend.services.access.access import system_access
from backend.services.lists.paging import Page, PageRequest
from backend.services.reporting.messages import (
    MessageFilter,
    MessageSummary,
    list_messages,
)
from tests.world import World

NOW = datetime.now(UTC).replace(microsecond=0)


def row(world: World, *, at: datetime | None = None, **fields: Any) -> Message:
    """A message made at `at`, its id included."""
    at = at or NOW
    defaults: dict[str, Any] = {
        "id": UUID(int=first_id(at).int | (new_id().int & ((1 << 80) - 1))),
        "project_id": world.project_id,
        "connector_id": new_id(),
        "connector_type": "sandbox",
        "mode": "live",
        "recipient": "+14155550100",
        "content": {"text": "Hello"},
        "status": "delivered",
        "priority": "normal",
        "on_uncertain": "hold",
        "created_at": at,
        "updated_at": at,
    }
    return Message(**{**defaults, **fields})


async def save(world: World, *rows: Any) -> None:
    async with world.platform.database.transaction() as session:
        session.add_all(rows)


async def listed(
    world: World, page: PageRequest | None = None, **conditions: Any
) -> Page[MessageSummary]:
    async with world.platform.database.session() as session:
        return await list_messages(
            session,
            system_access(world.project_id),
            filters=MessageFilter(**conditions),
            page=page or PageRequest(),
        )


def queued(message: Message, state: int) -> SendQueueRow:
    return SendQueueRow(
        message_id=message.id,
        project_id=message.project_id,
        connector_id=message.connector_id,
        lane=1,
        state=state,
        due_at=NOW,
    )
