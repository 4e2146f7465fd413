"""A watcher of one connector, and messages whose send ended without a final answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from backend.dispatch.retry import RetryPolicy
from backend.ledger.claims import Claim, Claims
from backend.ledger.recorder import Recorder
from backend.models import Connector
from backend.models.base import utc_now
from backend.platform import Platform
from backend.providers.frame.errors import OutcomeUnknown, SendError
from backend.providers.frame.provider import Accepted, OutboundMessage, ProviderContext
from backend.providers.sandbox import SandboxCredentials, SandboxProvider
from backend.services.delivery import outcomes
from backend.services.delivery.next_step import after_try
from backend.services.delivery.open_connectors import OpenConnector
from backend.services.delivery.watch import Watcher
from tests.services.delivery.routed import accept_routed, way
from tests.world import World

POLICY = RetryPolicy(max_attempts=3, base_s=0.01, cap_s=0.02, max_age_s=3600)
SETTLE_S = 0.05
Answer = Accepted | SendError | None


class ReportingProvider(SandboxProvider):
    """Cannot be asked; its receipts would name our id."""

    receipts_carry_our_id = True


class SingleConnector:
    def __init__(self, provider: SandboxProvider | None) -> None:
        self.provider = provider

    async def get(self, connector_id: UUID) -> OpenConnector:
        return OpenConnector(connector_id, self.provider)


def make_watcher(
    platform: Platform, provider: SandboxProvider | None, *, lease_s: float = 30.0
) -> Watcher:
    return Watcher(
        platform.database.raw,
        platform.doorbell,
        SingleConnector(provider),
        retry_policy=POLICY,
        lease_s=lease_s,
        exchange_timeout_s=2,
        settle_s=SETTLE_S,
    )


def reporting(platform: Platform) -> SandboxProvider:
    return ReportingProvider(SandboxCredentials(), platform.providers)


async def take(platform: Platform, connector: Connector) -> Claim:
    claims = Claims(platform.database.raw, lease_s=30)
    (claim,) = await claims.take([(1, connector.id)], 10)
    await claims.mark_in_flight([claim])
    return claim


class AskableProvider(SandboxProvider):
    """Answers with `answers` in turn, then with the last one; keeps what it was asked."""

    can_be_asked = True

    def __init__(
        self, context: ProviderContext, answers: Sequence[Answer], latency_s: float = 0.0
    ) -> None:
        super().__init__(SandboxCredentials(), context)
        self._answers = list(answers)
        self._latency_s = latency_s
        self.asked: list[str] = []

    async def find_sent(self, message: OutboundMessage) -> Accepted | None:
        self.asked.append(message.id)
        await asyncio.sleep(self._latency_s)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, SendError):
            raise answer
        return answer


async def end_in(
    platform: Platform, claim: Claim, provider: SandboxProvider | None, error: SendError | None
) -> None:
    """Record that the try was accepted as sent, or ended with `error`."""
    result = (
        outcomes.accepted(claim, Accepted(f"p-{claim.message_id}"), utc_now(), 1.0)
        if error is None
        else outcomes.failed(claim, error, POLICY, utc_now(), 1.0)
    )
    result = after_try(result, OpenConnector(claim.connector_id, provider), settle_s=SETTLE_S)
    assert (await Recorder(platform.database.raw).record(result)).is_ours


async def uncertain(
    platform: Platform,
    world: World,
    box: Connector,
    provider: SandboxProvider | None,
    **columns: object,
) -> UUID:
    message_id = await accept_routed(world, way(box), **columns)  # type: ignore[arg-type]
    await end_in(platform, await take(platform, box), provider, OutcomeUnknown("reset"))
    assert (await world.message(message_id)).status == "uncertain"
    return message_id


async def watch(watcher: Watcher, *, seconds: float = 0.0) -> None:
    """Do a round once what was put off for `seconds` is due."""
    await asyncio.sleep(seconds + 0.01)
    await watcher.round()
    await watcher.answered()
