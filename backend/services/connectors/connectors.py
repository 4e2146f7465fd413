"""A project's connectors: made, changed, deleted.

Credentials come in here and never go out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

import structlog
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.crypto import Vault
from backend.errors import (
    ConnectorNotFound,
    FieldError,
    InvalidConnectorCredentials,
    ProjectNotActive,
    ProjectNotFound,
    ValidationFailed,
)
from backend.models import Connector, Project
from backend.models.base import utc_now
from backend.models.session import Change, Database, announce
from backend.names import check_name
from backend.providers.frame.provider import Health, ProviderContext
from backend.services.access import audit
from backend.services.access.access import Access, Action
from backend.services.connectors.checks import ask_provider
from backend.services.connectors.config import check_config
from backend.services.connectors.credentials import (
    check_credentials,
    merge_credentials,
    seal,
    unseal,
)
from backend.services.lists.filters import EVERYTHING, Selection, select_wanted
from backend.services.lists.paging import Page, PageRequest, fetch_page

log = structlog.get_logger(__name__)

# A connector with this weight gets nearly everything that a pool sends.
HEAVIEST: Final = 1000


@dataclass(frozen=True, slots=True)
class NewConnector:
    """`credentials` as the provider's form names them (camelCase), in clear."""

    type: str
    name: str
    credentials: Mapping[str, Any] = field(default_factory=dict, repr=False)
    config: Mapping[str, Any] = field(default_factory=dict)
    is_active: bool = True
    is_default: bool = False
    weight: int | None = None


async def create_connector(
    session: AsyncSession, access: Access, *, vault: Vault, new: NewConnector
) -> Connector:
    """The first connector of a type becomes the project's default of it.

    Raises InvalidConnectorType, ValidationFailed (fields missing), InvalidConnectorCredentials.
    """
    access.require(Action.MANAGE_CONNECTORS)
    check_name(new.name)
    credentials = check_credentials(new.type, new.credentials)
    config = check_config(new.config)
    await _lock_project(session, access.project_id)
    others = await _of_type(session, access.project_id, new.type)
    is_default = new.is_default or not any(other.is_default for other in others)
    connector = Connector(
        project_id=access.project_id,
        type=new.type,
        name=new.name,
        credentials_encrypted="",
        config=config,
        is_active=new.is_active,
        is_default=is_default,
        weight=_checked_weight(new.weight),
    )
    connector.credentials_encrypted = seal(vault, connector.id, credentials)
    if is_default:
        await _take_default_from(session, others)
    session.add(connector)
    audit.record(
        session,
        access.actor,
        "connector.created",
        project_id=access.project_id,
        subject_id=connector.id,
        after={"type": new.type, **_audited(connector)},
    )
    await session.flush()
    announce(session, Change("connector", connector.id))
    return connector


async def list_connectors(session: AsyncSession, access: Access) -> list[Connector]:
    """Newest first."""
    access.require(Action.VIEW_CONNECTORS)
    return await Connector.list_for_project(session, access.project_id)


async def page_of_connectors(
    session: AsyncSession, access: Access, *, page: PageRequest, selection: Selection = EVERYTHING
) -> Page[Connector]:
    """Newest first."""
    access.require(Action.VIEW_CONNECTORS)
    query = select_wanted(Connector, access.project_id, selection, type_column=col(Connector.type))
    return await fetch_page(session, query, Connector.id, page)


async def get_connector(session: AsyncSession, access: Access, *, connector_id: UUID) -> Connector:
    """Raises ConnectorNotFound."""
    access.require(Action.VIEW_CONNECTORS)
    connector = await Connector.find(session, access.project_id, connector_id)
    if connector is None:
        raise ConnectorNotFound
    return connector


async def update_connector(
    session: AsyncSession,
    access: Access,
    *,
    vault: Vault,
    connector_id: UUID,
    changes: Mapping[str, Any],
) -> Connector:
    """Apply `changes`: any of name, is_active, is_default, weight, credentials (merged), config.

    New credentials end the connector's being broken, so that its waiting messages go on. Raises
    ConnectorNotFound, what create_connector raises, and ValidationFailed for secrets to be entered
    again.
    """
    access.require(Action.MANAGE_CONNECTORS)
    if changes.get("name") is not None:
        check_name(changes["name"])
    if changes.get("is_default") is not None:
        await _lock_project(session, access.project_id)
    connector = await get_connector(session, access, connector_id=connector_id)
    before = _audited(connector)
    if changes.get("credentials") is not None:
        _replace_credentials(vault, connector, changes["credentials"])
    if changes.get("config") is not None:
        connector.config = check_config(changes["config"])
    if changes.get("is_default") is not None:
        await _set_default(session, connector, is_default=changes["is_default"])
    for name in ("name", "is_active"):
        if changes.get(name) is not None:
            setattr(connector, name, changes[name])
    if "weight" in changes:
        connector.weight = _checked_weight(changes["weight"])
    connector.updated_at = utc_now()
    replaced = {"credentials": "replaced"} if changes.get("credentials") is not None else {}
    audit.record(
        session,
        access.actor,
        "connector.updated",
        project_id=access.project_id,
        subject_id=connector_id,
        before=before,
        after={**_audited(connector), **replaced},
    )
    await session.flush()
    announce(session, Change("connector", connector.id))
    return connector


async def delete_connector(session: AsyncSession, access: Access, *, connector_id: UUID) -> None:
    """Gone for the API and for sends to come; the project's next connector of its type is the
    default then.
    """
    access.require(Action.MANAGE_CONNECTORS)
    await _lock_project(session, access.project_id)
    connector = await get_connector(session, access, connector_id=connector_id)
    audit.record(
        session,
        access.actor,
        "connector.deleted",
        project_id=access.project_id,
        subject_id=connector_id,
        before=_audited(connector),
    )
    was_default = connector.is_default
    connector.deleted_at = utc_now()
    connector.is_default = False
    await session.flush()
    announce(session, Change("connector", connector.id))
    if was_default:
        successor = await Connector.find_default(session, access.project_id, connector.type)
        if successor is not None:
            successor.is_default = True
            await session.flush()
            announce(session, Change("connector", successor.id))


async def check_running(session: AsyncSession, access: Access) -> None:
    """Raises ProjectNotActive: a project that is switched off makes no connections, and
    ProjectNotFound.
    """
    project = await Project.find_open(session, access.project_id)
    if project is None:
        raise ProjectNotFound
    if not project[1]:
        raise ProjectNotActive


async def test_connector(
    database: Database,
    access: Access,
    *,
    vault: Vault,
    context: ProviderContext,
    connector_id: UUID,
) -> Health:
    """Return what the provider says to the connector's credentials, and note when it was asked.

    Opens its own sessions, before and after the call. A passed test ends the connector's being
    broken. Raises ConnectorNotFound and ProjectNotActive: everything else is a Health that says
    why.
    """
    access.require(Action.MANAGE_CONNECTORS)
    async with database.session() as session:
        await check_running(session, access)
        connector = await get_connector(session, access, connector_id=connector_id)
    health = await ask_provider(connector, vault=vault, context=context)
    async with database.transaction() as session:
        current = await Connector.find(session, access.project_id, connector_id)
        # Deleted or given other credentials meanwhile: what was asked says nothing about those.
        if current is not None and current.credentials_encrypted == connector.credentials_encrypted:
            current.last_tested_at = utc_now()
            if health.connected:
                _clear_broken(current)
            announce(session, Change("connector", connector_id))
            audit.record(
                session,
                access.actor,
                "connector.tested",
                project_id=access.project_id,
                subject_id=connector_id,
                after={"connected": health.connected},
            )
    log.info(
        "connector.tested",
        connector_id=str(connector_id),
        type=connector.type,
        connected=health.connected,
    )
    return health


def circuit_state(connector: Connector) -> Literal["closed", "open", "half_open"]:
    """Return what the circuit breaker does: closed sends, open waits, half_open sends one message
    to find out.
    """
    if connector.circuit_opened_at is None:
        return "closed"
    is_over = connector.circuit_probe_at is None or connector.circuit_probe_at <= utc_now()
    return "half_open" if is_over else "open"


def _audited(connector: Connector) -> dict[str, Any]:
    return {
        name: getattr(connector, name)
        for name in ("name", "config", "is_active", "is_default", "weight")
    }


def _checked_weight(weight: int | None) -> int | None:
    if weight is not None and not 0 <= weight <= HEAVIEST:
        message = f"A weight is a whole number from 0 to {HEAVIEST}; none: not in the pool."
        raise ValidationFailed(errors=[FieldError("weight", "VALIDATION_ERROR", message)])
    return weight


def _clear_broken(connector: Connector) -> None:
    connector.broken_at = None
    connector.broken_reason = None


def _replace_credentials(vault: Vault, connector: Connector, changes: Mapping[str, Any]) -> None:
    try:
        stored = unseal(vault, connector)
    except InvalidConnectorCredentials:
        # The old ones are lost with their key; a complete new set does without them.
        stored = {}
    credentials = merge_credentials(connector.type, stored, changes)
    connector.credentials_encrypted = seal(vault, connector.id, credentials)
    _clear_broken(connector)


async def _set_default(session: AsyncSession, connector: Connector, *, is_default: bool) -> None:
    if connector.is_default and not is_default:
        raise ValidationFailed(
            errors=[
                FieldError(
                    "isDefault",
                    "VALIDATION_ERROR",
                    f"'{connector.name}' is the default of type {connector.type}; make another one"
                    " the default.",
                )
            ]
        )
    if is_default and not connector.is_default:
        await _take_default_from(
            session, await _of_type(session, connector.project_id, connector.type)
        )
        connector.is_default = True


async def _take_default_from(session: AsyncSession, connectors: list[Connector]) -> None:
    for connector in connectors:
        if connector.is_default:
            connector.is_default = False
            announce(session, Change("connector", connector.id))
    # Before the new default is written: the unique index knows no "later in this transaction".
    await session.flush()


async def _of_type(session: AsyncSession, project_id: UUID, type_: str) -> list[Connector]:
    return [
        item for item in await Connector.list_for_project(session, project_id) if item.type == type_
    ]


async def _lock_project(session: AsyncSession, project_id: UUID) -> None:
    """One change of defaults at a time."""
    if not await Project.lock(session, project_id):
        raise ProjectNotFound
