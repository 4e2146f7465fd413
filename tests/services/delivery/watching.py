"""A watcher of one connector, and claims as a worker leaves them."""

from __future__ import annotations

from uuid import UUID

from backend.dispatch.retry import RetryPolicy
from backend.ledger.claims import Claim, Claims
from backend.models import Connector
from backend.platform import Platform
from backend.providers.sandbox import SandboxCredentials, SandboxProvider
from backend.services.delivery.open_connectors import OpenConnector
from backend.services.delivery.watch import Watcher

POLICY = RetryPolicy(max_attempts=3, base_s=0.01, cap_s=0.02, max_age_s=3600)
SETTLE_S = 0.05


class ReportingProvider(SandboxProvider):
    """Cannot be asked; its receipts would name our id."""

    receipts_carry_our_id = True


class OneConnector:
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
        OneConnector(provider),
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
