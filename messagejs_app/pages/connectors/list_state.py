"""The project's connectors with their health, and the providers there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from backend import ids
from backend.errors import AppError, ConnectorNotFound
from backend.provider_types import SANDBOX, describe_connector_types, sender_fields
from backend.providers.frame.provider import Health
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.connectors.credentials import visible_credentials
from backend.services.reporting.overview import ConnectorNumbers, overview
from messagejs_app.events import Events, Steps, complain, event, say
from messagejs_app.pages.connectors.health import health_of
from messagejs_app.session import Session, Work
from messagejs_app.wording import instant, number, percent

PATH: Final = "/connectors"


@dataclass
class ConnectorRow:
    id: str
    kind: str
    name: str
    sender: str
    health: str
    dot: str
    last_success: str
    errors: str
    sent: str
    is_active: bool
    is_default: bool


@dataclass
class ProviderCard:
    kind: str
    title: str
    summary: str
    connected: str
    dot: str


@dataclass
class Trouble:
    """A connector that cannot send, said at the top of the page; `heals`: it goes on by itself."""

    id: str
    name: str
    at: str
    reason: str
    heals: bool = False


class ConnectorsState(Session):
    rows: list[ConnectorRow] = []
    providers: list[ProviderCard] = []
    troubles: list[Trouble] = []
    is_loaded: bool = False
    deleting: str = ""
    deleting_name: str = ""
    testing: str = ""

    @event
    async def load(self) -> Events:
        await self._enter()
        await self._look()
        self.deleting = ""
        self.is_loaded = True
        return None

    @event
    async def test(self, connector_id: str) -> Steps:
        self.testing = connector_id
        yield None
        try:
            health = await self._test(connector_id)
        finally:
            self.testing = ""
        await self._look()
        yield say(health.message) if health.connected else complain(health.message)

    @event
    async def set_active(self, connector_id: str, is_active: bool) -> Events:
        name = await self._change(connector_id, {"is_active": is_active})
        await self._look()
        if is_active:
            return say(f"{name} is active. Its messages go out again.")
        return say(f"{name} is paused. Sends to it are refused until you activate it.")

    @event
    async def make_default(self, connector_id: str) -> Events:
        name = await self._change(connector_id, {"is_default": True})
        await self._look()
        return say(f"{name} is used when a send names only its type.")

    @event
    async def ask_delete(self, connector_id: str, name: str) -> Events:
        self.deleting, self.deleting_name = connector_id, name
        return None

    @event
    async def show_delete(self, is_shown: bool) -> Events:
        if not is_shown:
            self.deleting = ""
        return None

    @event
    async def delete(self) -> Events:
        name = self.deleting_name
        async with self._work(Action.MANAGE_CONNECTORS) as work:
            await connectors.delete_connector(
                work.session, work.access, connector_id=connector_id_of(self.deleting)
            )
        self.deleting = ""
        await self._look()
        return say(f"{name} deleted. Its messages stay in the history.")

    async def _test(self, connector_id: str) -> Health:
        platform, access = await self._authorize(Action.MANAGE_CONNECTORS)
        return await connectors.test_connector(
            platform.database,
            access,
            vault=platform.vault,
            context=platform.providers,
            connector_id=connector_id_of(connector_id),
        )

    async def _change(self, connector_id: str, changes: dict[str, Any]) -> str:
        async with self._work(Action.MANAGE_CONNECTORS) as work:
            changed = await connectors.update_connector(
                work.session,
                work.access,
                vault=work.platform.vault,
                connector_id=connector_id_of(connector_id),
                changes=changes,
            )
            return changed.name

    async def _look(self) -> None:
        async with self._work(Action.VIEW_CONNECTORS) as work:
            numbers = await overview(work.session, work.access, mode=self._checked_mode)
            senders = await _senders(work)
        rows = [
            _row(connector, senders.get(ids.encode(ids.CONNECTOR, connector.id), ""))
            for connector in numbers.connectors
        ]
        self.rows = sorted(rows, key=lambda row: row.name.lower())
        self.providers = [
            _provider(described, numbers.connectors) for described in describe_connector_types()
        ]
        self.troubles = [
            trouble
            for connector in numbers.connectors
            if (trouble := _trouble(connector)) is not None
        ]


def connector_id_of(text: str) -> UUID:
    """Raises ConnectorNotFound for a text that isn't a connector's id."""
    connector_id = ids.decode(ids.CONNECTOR, text)
    if connector_id is None:
        raise ConnectorNotFound
    return connector_id


async def _senders(work: Work) -> dict[str, str]:
    senders: dict[str, str] = {}
    for connector in await connectors.list_connectors(work.session, work.access):
        try:
            shown = visible_credentials(work.platform.vault, connector)
        except AppError:
            continue  # its row is there anyway; the form says what is wrong
        named = [str(shown[name]) for name in sender_fields(connector.type) if shown.get(name)]
        senders[ids.encode(ids.CONNECTOR, connector.id)] = named[0] if named else ""
    return senders


def _row(connector_numbers: ConnectorNumbers, sender: str) -> ConnectorRow:
    health, dot = health_of(connector_numbers)
    return ConnectorRow(
        id=ids.encode(ids.CONNECTOR, connector_numbers.id),
        kind=connector_numbers.type,
        name=connector_numbers.name,
        sender=sender or ("Virtual inbox" if connector_numbers.type == SANDBOX else ""),
        health=health,
        dot=dot,
        last_success=instant(connector_numbers.last_sent_at),
        errors=percent(
            connector_numbers.failed, connector_numbers.handed_over + connector_numbers.failed
        ),
        sent=number(connector_numbers.accepted),
        is_active=connector_numbers.is_active,
        is_default=connector_numbers.is_default,
    )


def _trouble(connector_numbers: ConnectorNumbers) -> Trouble | None:
    connector_id = ids.encode(ids.CONNECTOR, connector_numbers.id)
    if connector_numbers.broken_at is not None:
        return Trouble(
            connector_id,
            connector_numbers.name,
            instant(connector_numbers.broken_at),
            connector_numbers.broken_reason or "",
        )
    if connector_numbers.circuit_opened_at is not None and connector_numbers.is_active:
        why = connector_numbers.circuit_reason or ""
        reason = f"{why} Its messages wait and go on when it answers again."
        return Trouble(
            connector_id,
            connector_numbers.name,
            instant(connector_numbers.circuit_opened_at),
            reason.strip(),
            heals=True,
        )
    return None


def _provider(
    described: dict[str, Any], connector_numbers: Sequence[ConnectorNumbers]
) -> ProviderCard:
    kind = described["type"]
    same = [item for item in connector_numbers if item.type == kind]
    broken = [item for item in same if item.broken_at is not None]
    if broken:
        connected, dot = f"{len(broken)} broken", "broken"
    elif same:
        connected, dot = ("Built in" if kind == SANDBOX else f"{len(same)} connected"), "healthy"
    else:
        connected, dot = "", ""
    return ProviderCard(kind, described["title"], described["summary"], connected, dot)
