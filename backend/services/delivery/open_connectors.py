"""Connectors ready to send: opened once per process and kept until the connector changes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Final, TypeVar
from uuid import UUID

import structlog

from backend.crypto import Vault
from backend.dispatch.pacing import Pace
from backend.errors import InvalidConnectorCredentials, InvalidConnectorType
from backend.models import Connector
from backend.models.connector import ForSending
from backend.models.session import Change, Database
from backend.outages import is_outage
from backend.process.cache import ReadThroughCache
from backend.process.tasks import Tasks
from backend.providers.frame.provider import Pacing, ProviderContext, Retry
from backend.providers.frame.registry import AnyProvider
from backend.services.connectors.config import effective_pacing, effective_retry
from backend.services.connectors.credentials import open_provider
from backend.services.delivery.unopened import UnopenedConnectors

log = structlog.get_logger()

_TTL_S: Final = 5.0
_MOST_OPEN: Final = 10_000
_CLOSING_S: Final = 5.0
_UNPACED: Final = Pacing()
_DEFAULT_RETRY: Final = Retry()


@dataclass(frozen=True, slots=True)
class OpenConnector:
    """`provider` is None when nothing can be sent: `reason` says why, `is_gone` whether for good.

    `is_unopened`: this process cannot open it; another one may. Connectors with one `pace_key`
    share their pace.
    """

    connector_id: UUID
    provider: AnyProvider | None = None
    reason: str = ""
    is_gone: bool = False
    is_unopened: bool = False
    pacing: Pacing = _UNPACED
    pace_key: str = ""
    retry: Retry = _DEFAULT_RETRY
    is_circuit_open: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether it can send now: not gone, inactive, broken, nor with an open circuit."""
        return self.provider is not None and not self.is_circuit_open

    @property
    def pace(self) -> Pace | None:
        rate = self.pacing.per_second
        return Pace(self.pace_key, rate) if rate is not None else None

    def most_per_second_to(self, recipient: str) -> float | None:
        pacing = self.pacing
        if pacing.per_group_per_second is not None and self._is_group(recipient):
            return pacing.per_group_per_second
        return pacing.per_recipient_per_second

    def _is_group(self, recipient: str) -> bool:
        if self.provider is None:
            return False
        try:
            return bool(self.provider.is_group(recipient))
        except BaseException:
            # An adapter's bug costs this message its slower pace, and the others nothing.
            log.exception("pacing.adapter_failed", provider=self.provider.type)
            return False


class OpenConnectors:
    """Opens connectors.

    One that cannot be opened is an OpenConnector that says so: only an outage raises.
    """

    def __init__(self, database: Database, vault: Vault, context: ProviderContext) -> None:
        self.unopened = UnopenedConnectors()
        self._database = database
        self._vault = vault
        self._context = context
        self._cache = ReadThroughCache(self._load, size=_MOST_OPEN, ttl_s=_TTL_S)
        # Providers outlive the cache's few seconds: an SMTP one holds connections.
        self._opened: dict[UUID, tuple[str, AnyProvider]] = {}
        self._closing = Tasks()

    async def get(self, connector_id: UUID) -> OpenConnector:
        """Raises what an outage of the database raises (outages.py), and nothing else."""
        return self._cache.peek(connector_id) or await self._cache.get(connector_id)

    def forget(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind == "connector":
                self._cache.forget(change.id)
                self.unopened.forget(change.id)

    def expire(self, connector_id: UUID) -> None:
        """Read it again next time: its circuit has changed."""
        self._cache.forget(connector_id)

    async def get_again(self, connector_id: UUID) -> OpenConnector:
        """Open it again, whatever is known of it."""
        self._cache.forget(connector_id)
        return await self._cache.get(connector_id)

    async def _load(self, connector_id: UUID) -> OpenConnector:
        async with self._database.session() as session:
            try:
                row = await Connector.find_for_sending(session, connector_id)
            except Exception as exc:
                if is_outage(exc):
                    raise
                return self._unopened(connector_id, exc)
        try:
            connector = self._open(connector_id, row)
        except BaseException as exc:  # noqa: BLE001 (an adapter's SystemExit must not end the loop)
            return self._unopened(connector_id, exc)
        self.unopened.opened(connector_id)
        return connector

    def _unopened(self, connector_id: UUID, error: BaseException) -> OpenConnector:
        reason = _reason(error)
        self.unopened.note(connector_id, reason, error)
        return OpenConnector(connector_id, reason=reason, is_unopened=True)

    async def close(self) -> None:
        """End what the providers hold open."""
        for _, provider in self._opened.values():
            self._close(provider)
        self._opened.clear()
        await self._closing.wait()

    def _open(self, connector_id: UUID, row: ForSending | None) -> OpenConnector:
        stopped = _stopped(connector_id, row)
        if stopped is not None:
            self._shut(connector_id)
            return stopped
        assert row is not None  # noqa: S101 (a connector without a row is stopped)
        connector = row.connector
        if connector.broken_at is not None:
            return OpenConnector(
                connector_id,
                reason=connector.broken_reason or "The provider refused the credentials.",
            )
        provider = self._provider(connector)
        key = provider.account_key()
        return OpenConnector(
            connector.id,
            provider,
            reason=connector.circuit_reason or "",
            pacing=_checked(effective_pacing(connector.config, provider.pacing)),
            pace_key=str(key) if key else connector.id.hex,
            retry=_checked(effective_retry(connector.config, provider.retry)),
            is_circuit_open=connector.circuit_opened_at is not None,
        )

    def _provider(self, connector: Connector) -> AnyProvider:
        known = self._opened.get(connector.id)
        if known is not None:
            if known[0] == connector.credentials_encrypted:
                return known[1]
            self._close(self._opened.pop(connector.id)[1])
        provider = open_provider(connector, vault=self._vault, context=self._context)
        while len(self._opened) >= _MOST_OPEN:
            self._close(self._opened.pop(next(iter(self._opened)))[1])
        self._opened[connector.id] = (connector.credentials_encrypted, provider)
        return provider

    def _shut(self, connector_id: UUID) -> None:
        """What has not been handed over yet waits too."""
        known = self._opened.pop(connector_id, None)
        if known is not None:
            self._close(known[1])

    def _close(self, provider: AnyProvider) -> None:
        """No message waits for an adapter to let go."""
        self._closing.spawn(_end(provider))


async def _end(provider: AnyProvider) -> None:
    try:
        async with asyncio.timeout(_CLOSING_S):
            await provider.aclose()
    except BaseException as exc:  # else a SystemExit of an adapter would end the loop
        log.exception("connector.not_closed", provider=provider.type, error=type(exc).__name__)


_Settings = TypeVar("_Settings", Pacing, Retry)


def _checked(settings: _Settings) -> _Settings:
    """Return what can be computed with; raises ValueError."""
    for value in astuple(settings):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (is_number and math.isfinite(value) and value > 0):
            raise ValueError(f"{type(settings).__name__} has a value that isn't a positive number.")
    return settings


def _reason(error: BaseException) -> str:
    """Return why a connector cannot be opened.

    Not the error's text, which may quote a secret.
    """
    if isinstance(error, InvalidConnectorCredentials):
        return "The connector's credentials cannot be read; enter them again."
    if isinstance(error, InvalidConnectorType):
        return (
            "The server has no provider of the connector's type; install it, or delete the"
            " connector."
        )
    return (
        f"The connector cannot be opened ({type(error).__name__}); check its settings and"
        " credentials, and enter them again. The server's log says more."
    )


def _stopped(connector_id: UUID, row: ForSending | None) -> OpenConnector | None:
    """Return why nothing is sent, None when something is."""
    if row is not None and row.is_project_deleted:
        # Held, not failed: the sweeper cancels them.
        return OpenConnector(connector_id, reason="The project was deleted.")
    if row is None or row.connector.deleted_at is not None:
        return OpenConnector(connector_id, reason="The connector was deleted.", is_gone=True)
    if not row.is_project_open:
        return OpenConnector(connector_id, reason="The project is not active.")
    if not row.connector.is_active:
        return OpenConnector(connector_id, reason="The connector is not active.")
    return None
