"""Messages with more than one way, as the accept writer stores them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from backend.dispatch.retry import RetryPolicy
from backend.ids import new_id
from backend.ledger.accept import NewMessage
from backend.models import Connector, Event
from backend.models.send_queue import LANES
from backend.platform import Platform
from backend.services.delivery.engine import DeliveryEngine
from tests.world import World

POLICY = RetryPolicy(max_attempts=2, base_s=0.01, cap_s=0.02, max_age_s=3600)
PHONE = "+14155550123"
TELEGRAM = {"botToken": "123456:test-token-0123456789abcdefghijklm"}
TWILIO = {"accountSid": "AC" + "0" * 32, "authToken": "f" * 32, "fromNumber": "+14155550100"}


def way(
    connector: Connector, on: str = "failure", *, to: str = "42", text: str = "hi"
) -> dict[str, Any]:
    return {
        "connectorId": str(connector.id),
        "connectorType": connector.type,
        "recipient": to,
        "content": {"text": text},
        "on": on,
    }


async def accept_routed(
    world: World, *ways: dict[str, Any], fallback_after_s: float | None = None, **columns: Any
) -> UUID:
    """Accept one message; with a single way it has no route."""
    first = ways[0]
    message = NewMessage(
        id=new_id(),
        project_id=world.project_id,
        connector_id=UUID(first["connectorId"]),
        lane=LANES["normal"],
        columns={
            "key_id": None,
            "connector_type": first["connectorType"],
            "mode": "live",
            "recipient": first["recipient"],
            "content": first["content"],
            "status": "queued",
            "priority": "normal",
            "on_uncertain": "hold",
            "route": (
                {"steps": list(ways), "fallbackAfterS": fallback_after_s} if len(ways) > 1 else None
            ),
            **columns,
        },
    )
    return (await world.platform.writer.write(message)).message_id


async def queue_row(platform: Platform, message_id: UUID) -> tuple[int, UUID, int] | None:
    """Return (state, connector_id, tries), None when nothing is left to do."""
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT state, connector_id, tries FROM send_queue WHERE message_id = %s", (message_id,)
        )
        return await cursor.fetchone()


async def event_types(platform: Platform, message_id: UUID) -> list[str]:
    async with platform.database.session() as session:
        return [event.type for event in await Event.list_for_message(session, message_id)]


async def change(platform: Platform, statement: str, *values: object) -> None:
    """Change rows behind the product's back, as a receipt or a person would."""
    async with platform.database.raw.connection() as connection:
        await connection.execute(statement.encode(), values)


async def drain_until(
    platform: Platform, world: World, engine: DeliveryEngine, message_id: UUID, *statuses: str
) -> None:
    async with asyncio.timeout(8):
        while (await world.message(message_id)).status not in statuses:
            await platform.doorbell.drain()
            await engine.drain_slice(0.3)
