"""Which provider a connector is, opened once per process and kept until the connector changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from backend.crypto import Vault
from backend.errors import AppError
from backend.models import Connector
from backend.models.session import Change, Database
from backend.providers._base import ProviderContext
from backend.providers._registry import AnyProvider
from backend.services.cache import ReadThroughCache
from backend.services.connectors.credentials import open_provider

log = structlog.get_logger()

_TTL_S: Final = 5.0
_MOST_OPEN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """`provider` is None when nothing can be sent: `reason` says why, `is_gone` whether for good."""

    connector_id: UUID
    provider: AnyProvider | None = None
    reason: str = ""
    is_gone: bool = False


class Accounts:
    def __init__(self, database: Database, vault: Vault, context: ProviderContext) -> None:
        self._database = database
        self._vault = vault
        self._context = context
        self._cache = ReadThroughCache(self._load, size=_MOST_OPEN, ttl_s=_TTL_S)
        # Providers outlive the cache's few seconds: an SMTP one holds connections.
        self._opened: dict[UUID, tuple[str, Account]] = {}

    async def get(self, connector_id: UUID) -> Account:
        return self._cache.peek(connector_id) or await self._cache.get(connector_id)

    def forget(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind == "connector":
                self._cache.forget(change.id)

    async def _load(self, connector_id: UUID) -> Account:
        async with self._database.session() as session:
            rows = await Connector.find_many(session, {connector_id})
        connector = rows[0] if rows else None
        if connector is None or connector.deleted_at is not None:
            return Account(connector_id, reason="The connector was deleted.", is_gone=True)
        if not connector.is_active:
            return Account(connector_id, reason="The connector is not active.")
        if connector.broken_at is not None:
            return Account(connector_id, reason=connector.broken_reason or "The provider refused the credentials.")
        return await self._open(connector)

    async def close(self) -> None:
        """End what the providers hold open."""
        for _, account in self._opened.values():
            await _close_provider(account)
        self._opened.clear()

    async def _open(self, connector: Connector) -> Account:
        known = self._opened.get(connector.id)
        if known is not None:
            if known[0] == connector.credentials_encrypted:
                return known[1]
            await _close_provider(known[1])
        try:
            provider = open_provider(connector, vault=self._vault, context=self._context)
        except AppError as exc:
            log.warning("connector.unreadable", connector_id=str(connector.id), error=str(exc))
            return Account(connector.id, reason="The connector's credentials cannot be read; enter them again.")
        account = Account(connector.id, provider)
        while len(self._opened) >= _MOST_OPEN:
            oldest = next(iter(self._opened))
            await _close_provider(self._opened.pop(oldest)[1])
        self._opened[connector.id] = (connector.credentials_encrypted, account)
        return account


async def _close_provider(account: Account) -> None:
    if account.provider is not None:
        await account.provider.aclose()
