"""Messages written straight into the database, as old or as odd as a test needs them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from backend import ids
from backend.ids import new_id
from backend.models import Message
from backend.models.partitions import first_id
from tests.api.accounts import Account, Api

NOW = datetime.now(UTC).replace(microsecond=0)


async def save(api: Api, account: Account, *, at: datetime = NOW, **fields: Any) -> str:
    """Write a message and return its id as clients see it."""
    project_id = ids.decode(ids.PROJECT, account.project_id)
    defaults: dict[str, Any] = {
        "id": UUID(int=first_id(at).int | (new_id().int & ((1 << 80) - 1))),
        "project_id": project_id,
        "connector_id": new_id(),
        "connector_type": "whatsapp",
        "mode": "live",
        "recipient": "+1234567890",
        "content": {"text": "Hello, world!"},
        "status": "sent",
        "priority": "normal",
        "on_uncertain": "hold",
        "created_at": at,
        "updated_at": at,
    }
    message = Message(**{**defaults, **fields})
    async with api.platform.database.transaction() as session:
        session.add(message)
    return ids.encode(ids.MESSAGE, message.id)
