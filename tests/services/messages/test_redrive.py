"""A dead letter is sent once, whichever web processes redrive it at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

from backend.errors import NotADeadLetter
from backend.ids import new_id
from backend.ledger.accept import AcceptWriter, NewMessage, Written
from backend.platform import Platform
from tests.services.delivery.routed import accept_routed, change, event_types, way
from tests.world import World


def _writer(platform: Platform) -> AcceptWriter:
    """As another process has one: with a connection of its own, and nothing shared but the
    database.
    """
    return AcceptWriter(
        platform.database.raw,
        waiting_limit=1000,
        idempotency_ttl_s=60,
        on_commit=lambda _turns: None,
    )


def _repeat(world: World, dead: UUID, connector_id: UUID) -> NewMessage:
    columns: dict[str, Any] = {
        "connector_type": "sandbox", "mode": "live", "recipient": "42", "content": {"text": "hi"},
        "status": "queued",
        "priority": "normal", "on_uncertain": "hold", "resent_from": dead,
    }  # fmt: skip
    return NewMessage(new_id(), world.project_id, connector_id, 1, columns, redrives=True)


async def test_of_two_processes_one_sends_each_whatever_their_order(
    platform: Platform, world: World
) -> None:
    box = await world.connector()
    dead = [await accept_routed(world, way(box)) for _ in range(20)]
    await change(platform, "UPDATE messages SET status = 'failed' WHERE id = ANY(%s)", dead)
    await change(
        platform,
        "INSERT INTO dead_letters (message_id, project_id)"
        " SELECT id, %s FROM unnest(%s::uuid[]) AS d(id)",
        world.project_id, dead,
    )  # fmt: skip
    item, other = _writer(platform), _writer(platform)
    writes = [item.write(_repeat(world, message_id, box.id)) for message_id in dead]
    writes += [other.write(_repeat(world, message_id, box.id)) for message_id in reversed(dead)]
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert Counter(type(answer) for answer in answers) == {Written: 20, NotADeadLetter: 20}
    assert [await event_types(platform, message_id) for message_id in dead] == [
        ["message.redriven"]
    ] * 20
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT count(*), count(DISTINCT resent_from) FROM messages WHERE resent_from ="
            " ANY(%s)",
            (dead,),
        )
        assert await cursor.fetchone() == (20, 20)
    await item.drain()
    await other.drain()


async def test_a_late_receipt_of_delivery_comes_before_a_redrive(
    platform: Platform, world: World
) -> None:
    box = await world.connector()
    message_id = await accept_routed(world, way(box))
    await change(platform, "INSERT INTO dead_letters VALUES (%s, %s)", message_id, world.project_id)
    await change(platform, "UPDATE messages SET status = 'delivered' WHERE id = %s", message_id)
    writer = _writer(platform)
    [answer] = await asyncio.gather(
        writer.write(_repeat(world, message_id, box.id)), return_exceptions=True
    )
    assert isinstance(answer, NotADeadLetter)
    await writer.drain()
