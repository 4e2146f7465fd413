"""Sends and receipts below the API: messages taken, answered and reported on, step by step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from backend import ids
from backend.dispatch.retry import RetryPolicy
from backend.ids import new_id
from backend.ledger.claims import Claim, Claims
from backend.ledger.recorder import Recorder
from backend.models import Connector
from backend.models.base import utc_now
from backend.platform import Platform
from backend.providers.frame.callbacks import Receipt, ReceiptStatus
from backend.providers.frame.errors import OutcomeUnknown
from backend.providers.frame.provider import Accepted
from backend.services.callbacks.store import Incoming
from backend.services.delivery import outcomes
from backend.services.delivery.next_step import after_try
from backend.services.delivery.open_connectors import OpenConnector
from tests.services.delivery.routed import accept_routed, way
from tests.world import World

POLICY = RetryPolicy(max_attempts=3, base_s=60, cap_s=60, max_age_s=3600)


async def take_all(platform: Platform, connector: Connector) -> list[Claim]:
    """Claim what is due and mark it as being handed over."""
    claims = Claims(platform.database.raw, lease_s=30)
    taken: list[Claim] = []
    while some := await claims.take([(1, connector.id)], 100):
        await claims.mark_in_flight(some)
        taken += some
    return taken


async def take(platform: Platform, connector: Connector) -> Claim:
    (claim,) = await take_all(platform, connector)
    return claim


def provider_id(message_id: UUID) -> str:
    return f"p-{message_id}"


async def answer(recorder: Recorder, claim: Claim) -> None:
    """The provider says that it has taken the message."""
    result = outcomes.accepted(claim, Accepted(provider_id(claim.message_id)), utc_now(), 1.0)
    assert (
        await recorder.record(after_try(result, OpenConnector(claim.connector_id), settle_s=60))
    ).is_ours


async def break_off(recorder: Recorder, claim: Claim) -> None:
    """The answer to the send is lost."""
    result = outcomes.failed(claim, OutcomeUnknown("Lost."), POLICY, utc_now(), 1.0)
    assert (
        await recorder.record(after_try(result, OpenConnector(claim.connector_id), settle_s=60))
    ).is_ours


def receipt(
    message_id: UUID, status: ReceiptStatus, *, by_our_id: bool = False, **fields: Any
) -> Receipt:
    ours = ids.encode(ids.MESSAGE, message_id) if by_our_id else None
    return Receipt(
        status, **{"provider_message_id": provider_id(message_id), "message_id": ours, **fields}
    )


def incoming(connector: Connector, *receipts: Receipt, body: bytes | None = None) -> Incoming:
    return Incoming(
        connector.id, connector.project_id, "", new_id().bytes if body is None else body, receipts
    )


async def tell(
    platform: Platform, connector: Connector, *receipts: Receipt, body: bytes | None = None
) -> None:
    """Store a verified callback and apply its receipts, as the API does."""
    stored = await platform.receipts.store(incoming(connector, *receipts, body=body))
    for future in platform.receipt_applier.apply_soon(stored):
        await future


async def catch_up(platform: Platform, *, every: bool = True) -> None:
    """Do a worker's round; `every`: as if all receipts were due."""
    if every:
        async with platform.database.raw.connection() as connection:
            # Two of these at once, or one beside an applier, must not deadlock.
            free = "SELECT id FROM pending_receipts FOR UPDATE SKIP LOCKED"
            await connection.execute(
                f"UPDATE pending_receipts SET due_at = now() WHERE id IN ({free})"
            )
    await platform.receipt_applier.apply_due()


async def waiting(platform: Platform) -> int:
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM pending_receipts")
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def versions(platform: Platform, message_ids: Iterable[UUID]) -> list[tuple[Any, ...]]:
    """Return what changes with every write of a message, and how many events it has."""
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT m.id, m.xmin::text, (SELECT count(*) FROM events e WHERE e.message_id = m.id) "
            "FROM messages m WHERE id = ANY(%s) ORDER BY id",
            (list(message_ids),),
        )
        return await cursor.fetchall()


async def accepted_and_sent(
    platform: Platform, world: World, box: Connector, recorder: Recorder
) -> UUID:
    message_id = await accept_routed(world, way(box))
    await answer(recorder, await take(platform, box))
    return message_id
