"""The door: a provider's callback is verified, stored with its receipts, and answered.

Its receipts are applied right after the answer, by the process that took them: at once for the
customer, and without the provider waiting for a message's lock. Should that process die in between,
the workers find them (rounds.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from backend.crypto import Vault
from backend.errors import (
    ConnectorNotFound,
    Forbidden,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from backend.models import Connector
from backend.models.session import Change, Database
from backend.process.cache import ReadThroughCache
from backend.providers.frame.callbacks import CallbackRequest
from backend.providers.frame.errors import CallbackRefused
from backend.providers.frame.provider import Provider, ProviderContext
from backend.services.callbacks.store import Incoming, ReceiptStore
from backend.services.connectors.credentials import open_provider

log = structlog.get_logger()

_TTL_S: Final = 5.0
_MOST_KNOWN: Final = 10_000
# As many as Meta says one of its callbacks has at most.
MOST_RECEIPTS: Final = 1000

_MARK_VERIFIED: Final = """
UPDATE connectors SET callback_verified_at = now() WHERE id = %s AND callback_verified_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class _Sender:
    connector_id: UUID
    project_id: UUID
    provider: Provider[Any]
    was_verified: bool


class Applier(Protocol):
    """Who applies receipts once they are stored; platform.py knows."""

    def apply_soon(self, receipt_ids: Sequence[UUID]) -> object: ...


class CallbackIntake:
    def __init__(
        self,
        database: Database,
        vault: Vault,
        context: ProviderContext,
        store: ReceiptStore,
        applier: Applier,
    ) -> None:
        self._database = database
        self._vault = vault
        self._context = context
        self._store = store
        self._applier = applier
        self._senders: ReadThroughCache[UUID, _Sender] = ReadThroughCache(
            self._load, size=_MOST_KNOWN, ttl_s=_TTL_S
        )

    def knows(self, connector_id: UUID) -> bool:
        """Whether a callback of this connector was asked for a moment ago, so that looking it up
        costs nothing.
        """
        return self._senders.peek(connector_id) is not None

    def forget(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.kind == "connector":
                self._senders.forget(change.id)

    async def answer_handshake(self, connector_id: UUID, request: CallbackRequest) -> str:
        """Return what the provider wants back; raises ConnectorNotFound and Forbidden."""
        sender = await self._senders.get(connector_id)
        try:
            answer = sender.provider.answer_handshake(request)
        except CallbackRefused as exc:
            raise _refused(sender, exc) from exc
        await self._mark_verified(sender)
        return answer

    async def receive(self, connector_id: UUID, request: CallbackRequest) -> None:
        """Return once the callback is stored; its receipts are applied soon after.

        Raises ConnectorNotFound, UnsupportedMediaType, Forbidden, ServiceUnavailable.
        """
        sender = await self._senders.get(connector_id)
        provider = sender.provider
        media_type = request.header("content-type").partition(";")[0].strip().lower()
        if media_type != provider.callback_type:
            raise UnsupportedMediaType(
                f"'{media_type[:80]}' is not read here; send '{provider.callback_type}'."
            )
        try:
            provider.verify_callback(request)
        except CallbackRefused as exc:
            raise _refused(sender, exc) from exc
        try:
            receipts = provider.parse_callback(request)
        except Exception:  # an adapter's bug: what came is kept, and the provider has done its part
            log.exception(
                "callback.adapter_failed", connector_id=str(connector_id), provider=provider.type
            )
            receipts = []
        if len(receipts) > MOST_RECEIPTS:
            log.warning(
                "callback.receipts_left_out", connector_id=str(connector_id), receipts=len(receipts)
            )
            receipts = receipts[:MOST_RECEIPTS]
        incoming = Incoming(connector_id, sender.project_id, request.query, request.body, receipts)
        self._applier.apply_soon(await self._store.store(incoming))
        await self._mark_verified(sender)

    async def _load(self, connector_id: UUID) -> _Sender:
        async with self._database.session() as session:
            result = await Connector.find_for_sending(session, connector_id)
        if result is None or result.connector.deleted_at is not None or result.is_project_deleted:
            raise ConnectorNotFound
        connector = result.connector
        try:
            provider = open_provider(connector, vault=self._vault, context=self._context)
        except Exception as exc:
            log.warning(
                "callback.connector_unreadable",
                connector_id=str(connector_id),
                error=type(exc).__name__,
            )
            raise ServiceUnavailable(
                "The connector's credentials cannot be read; try again later."
            ) from exc
        if provider.callback_type is None:
            raise ConnectorNotFound
        return _Sender(
            connector.id, connector.project_id, provider, connector.callback_verified_at is not None
        )

    async def _mark_verified(self, sender: _Sender) -> None:
        if sender.was_verified:
            return
        async with self._database.raw.connection() as connection:
            await connection.execute(_MARK_VERIFIED, (sender.connector_id,))
        self._senders.forget(sender.connector_id)


def _refused(sender: _Sender, exc: CallbackRefused) -> Forbidden:
    log.warning(
        "callback.refused",
        connector_id=str(sender.connector_id),
        provider=sender.provider.type,
        reason=exc.reason,
    )
    return Forbidden(
        "This is not signed as the connector's provider signs; check the connector's credentials."
    )
