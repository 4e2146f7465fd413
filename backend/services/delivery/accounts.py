"""Which provider a connector is, opened once per process and kept until the connector changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import psycopg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from backend.crypto import Vault
from backend.errors import AppError
from backend.models import Connector
from backend.models.connector import ForSending
from backend.models.session import Change, Database
from backend.providers._base import Pacing, ProviderContext, Retry
from backend.providers._registry import AnyProvider
from backend.services.cache import ReadThroughCache
from backend.services.connectors.config import effective_pacing, effective_retry
from backend.services.connectors.credentials import open_provider

log = structlog.get_logger()

_TTL_S: Final = 5.0
_MOST_OPEN: Final = 10_000
_UNPACED: Final = Pacing()
_NO_RETRY_OF_ITS_OWN: Final = Retry()


@dataclass(frozen=True, slots=True)
class Account:
    """`provider` is None when nothing can be sent: `reason` says why, `is_gone` whether for good.

    Accounts with one `pace_key` share their pace.
    """

    connector_id: UUID
    provider: AnyProvider | None = None
    reason: str = ""
    is_gone: bool = False
    pacing: Pacing = _UNPACED
    pace_key: str = ""
    retry: Retry = _NO_RETRY_OF_ITS_OWN
    is_circuit_open: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether it can send now: not gone, inactive, broken, nor with an open circuit."""
        return self.provider is not None and not self.is_circuit_open

    def most_per_second_to(self, recipient: str) -> float | None:
        pacing = self.pacing
        if pacing.per_group_per_second is not None and self.provider is not None and self.provider.is_group(recipient):
            return pacing.per_group_per_second
        return pacing.per_recipient_per_second


class Accounts:
    def __init__(self, database: Database, vault: Vault, context: ProviderContext) -> None:
        self._database = database
        self._vault = vault
        self._context = context
        self._cache = ReadThroughCache(self._load, size=_MOST_OPEN, ttl_s=_TTL_S)
        # Providers outlive the cache's few seconds: an SMTP one holds connections.
        self._opened: dict[UUID, tuple[str, AnyProvider]] = {}

    async def get(self, connector_id: UUID) -> Account:
        return self._cache.peek(connector_id) or await self._cache.get(connector_id)

    def forget(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind == "connector":
                self._cache.forget(change.id)

    def forget_one(self, connector_id: UUID) -> None:
        """Read it again next time: its circuit has changed."""
        self._cache.forget(connector_id)

    async def _load(self, connector_id: UUID) -> Account:
        try:
            async with self._database.session() as session:
                found = await Connector.find_for_sending(session, connector_id)
        except SQLAlchemyError as exc:
            # The callers know one error for a database that is away: the driver's.
            raise psycopg.OperationalError(f"The connector could not be read: {type(exc).__name__}.") from exc
        stopped = _stopped(connector_id, found)
        if stopped is not None:
            await self._shut(connector_id)
            return stopped
        assert found is not None  # noqa: S101 (nothing found is stopped)
        connector = found.connector
        if connector.broken_at is not None:
            return Account(connector_id, reason=connector.broken_reason or "The provider refused the credentials.")
        return await self._open(connector)

    async def _shut(self, connector_id: UUID) -> None:
        """What has not been handed over yet waits too."""
        known = self._opened.pop(connector_id, None)
        if known is not None:
            await known[1].aclose()

    async def close(self) -> None:
        """End what the providers hold open."""
        for _, provider in self._opened.values():
            await provider.aclose()
        self._opened.clear()

    async def _open(self, connector: Connector) -> Account:
        try:
            provider = await self._provider(connector)
        except AppError as exc:
            log.warning("connector.unreadable", connector_id=str(connector.id), error=str(exc))
            return Account(connector.id, reason="The connector's credentials cannot be read; enter them again.")
        return Account(
            connector.id,
            provider,
            reason=connector.circuit_reason or "",
            pacing=effective_pacing(connector.config, provider.pacing),
            pace_key=provider.account_key() or connector.id.hex,
            retry=effective_retry(connector.config, provider.retry),
            is_circuit_open=connector.circuit_opened_at is not None,
        )

    async def _provider(self, connector: Connector) -> AnyProvider:
        known = self._opened.get(connector.id)
        if known is not None:
            if known[0] == connector.credentials_encrypted:
                return known[1]
            await known[1].aclose()
        provider = open_provider(connector, vault=self._vault, context=self._context)
        while len(self._opened) >= _MOST_OPEN:
            oldest = next(iter(self._opened))
            await self._opened.pop(oldest)[1].aclose()
        self._opened[connector.id] = (connector.credentials_encrypted, provider)
        return provider


def _stopped(connector_id: UUID, found: ForSending | None) -> Account | None:
    """Return why nothing is sent, None when something is."""
    if found is not None and found.is_project_deleted:
        # Held, not failed: the sweeper cancels them.
        return Account(connector_id, reason="The project was deleted.")
    if found is None or found.connector.deleted_at is not None:
        return Account(connector_id, reason="The connector was deleted.", is_gone=True)
    if not found.is_project_open:
        return Account(connector_id, reason="The project is not active.")
    if not found.connector.is_active:
        return Account(connector_id, reason="The connector is not active.")
    return None
