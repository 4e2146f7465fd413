"""An honest project's worker, and what shares it with a project that spoils things."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from backend.ids import new_id
from backend.models import Connector
from backend.platform import Platform
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.watch import Watcher
from backend.services.policy.request import SendRequest
from tests.providers.fakes import FakeTelegram
from tests.world import World, make_sweeper

TOKEN: Final = {"botToken": "123456:test-token-0123456789abcdefghijklm"}
PATIENCE_S: Final = 20.0


@dataclass
class Workers:
    """What a worker process runs, on the test's loop, beside an honest project's connector."""

    platform: Platform
    engine: DeliveryEngine
    watcher: Watcher
    telegram: FakeTelegram
    honest: World
    connector: Connector

    async def send_honest(self, count: int = 3) -> list[UUID]:
        requests = [
            SendRequest(to="42", text=new_id().hex, connector_id=self.connector.id)
            for _ in range(count)
        ]
        return [(await self.honest.send(request)).message_id for request in requests]

    async def until_sent(self, ids: list[UUID]) -> None:
        """Work until the honest messages are with their provider and recorded, each once."""
        await self.platform.doorbell.drain()
        ends_at = time.monotonic() + PATIENCE_S
        while {(await self.honest.message(message_id)).status for message_id in ids} != {"sent"}:
            assert time.monotonic() < ends_at, [
                (await self.honest.message(message_id)).status for message_id in ids
            ]
            await self.turn()
        texts = [received.body["text"] for received in self.telegram.messages]
        assert len(texts) == len(set(texts))

    async def turn(self) -> None:
        """Once everything that a worker does again and again. None of it may raise."""
        await self.engine.drain_slice(0.15)
        await make_sweeper(self.platform).sweep()
        await self.watcher.round()
        await self.platform.doorbell.drain()


async def add_hostile(
    world: World, where: str, what: str, count: int = 2
) -> tuple[Connector, list[UUID]]:
    connector = await world.connector("hostile", {"where": where, "what": what}, config={})
    requests = [SendRequest(to="42", text="boo", connector_id=connector.id) for _ in range(count)]
    return connector, [(await world.send(request)).message_id for request in requests]


async def execute(platform: Platform, statement: Any, parameters: Any = None) -> list[Any]:
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(statement, parameters)
        return await cursor.fetchall() if cursor.description else []


async def forget_queued(platform: Platform, project_id: UUID) -> None:
    await execute(platform, "DELETE FROM send_queue WHERE project_id = %s", (project_id,))
