"""Connectors below the API: encryption is bound to the row, changes reach the caches and the audit
log.
"""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlmodel import col, select

from backend.crypto import Vault
from backend.errors import ConnectorNotFound, InvalidConnectorCredentials
from backend.models import AuditEntry
from backend.platform import Platform
from backend.services.access.access import system_access
from backend.services.connectors import connectors
from backend.services.connectors.credentials import open_provider, unseal
from tests.world import World

TOKEN = "123456:ABC-DEF"
OTHER_KEY = "ab" * 32


async def audited(world: World, subject_id: UUID) -> list[AuditEntry]:
    async with world.platform.database.session() as session:
        query = (
            select(AuditEntry)
            .where(col(AuditEntry.subject_id) == subject_id)
            .order_by(col(AuditEntry.id))
        )
        return list((await session.exec(query)).all())


async def test_credentials_copied_to_another_row_do_not_open(
    world: World, platform: Platform
) -> None:
    first = await world.connector("telegram", {"botToken": TOKEN})
    second = await world.connector("telegram", {"botToken": "654321:OTHER"})
    second.credentials_encrypted = first.credentials_encrypted
    with pytest.raises(InvalidConnectorCredentials, match="cannot be decrypted"):
        unseal(platform.vault, second)


async def test_a_connector_opens_as_its_provider(world: World, platform: Platform) -> None:
    connector = await world.connector("telegram", {"botToken": TOKEN})
    provider = open_provider(connector, vault=platform.vault, context=platform.providers)
    assert provider.type == "telegram"
    assert provider.credentials.bot_token.get_secret_value() == TOKEN


async def test_a_lost_key_is_a_failed_test_and_new_credentials_mend_it(
    world: World, platform: Platform
) -> None:
    connector = await world.connector("telegram", {"botToken": TOKEN})
    stranger = Vault(OTHER_KEY)
    health = await connectors.test_connector(
        platform.database,
        system_access(world.project_id),
        vault=stranger,
        context=platform.providers,
        connector_id=connector.id,
    )
    assert not health.connected
    assert "ENCRYPTION_KEY" in health.message
    async with platform.database.transaction() as session:
        mended = await connectors.update_connector(
            session,
            system_access(world.project_id),
            vault=stranger,
            connector_id=connector.id,
            changes={"credentials": {"botToken": "1:NEW"}},
        )
    assert unseal(stranger, mended)["botToken"] == "1:NEW"


async def test_changes_reach_the_send_path_at_once(world: World, platform: Platform) -> None:
    connector = await world.connector()
    cached = await platform.catalog.connector(world.project_id, connector.id)
    assert cached.is_active
    async with platform.database.transaction() as session:
        await connectors.update_connector(
            session,
            system_access(world.project_id),
            vault=platform.vault,
            connector_id=connector.id,
            changes={"is_active": False},
        )
    assert not (await platform.catalog.connector(world.project_id, connector.id)).is_active
    async with platform.database.transaction() as session:
        await connectors.delete_connector(
            session, system_access(world.project_id), connector_id=connector.id
        )
    with pytest.raises(ConnectorNotFound):
        await platform.catalog.connector(world.project_id, connector.id)


async def test_a_new_default_reaches_the_send_path_at_once(
    world: World, platform: Platform
) -> None:
    first, second = await world.connector(), await world.connector()
    assert (await platform.catalog.pool(world.project_id, "sandbox"))[0].id == first.id
    async with platform.database.transaction() as session:
        await connectors.update_connector(
            session,
            system_access(world.project_id),
            vault=platform.vault,
            connector_id=second.id,
            changes={"is_default": True},
        )
    assert (await platform.catalog.pool(world.project_id, "sandbox"))[0].id == second.id


async def test_the_audit_log_says_what_changed_and_holds_no_secret(
    world: World, platform: Platform
) -> None:
    connector = await world.connector("telegram", {"botToken": TOKEN})
    async with platform.database.transaction() as session:
        await connectors.update_connector(
            session,
            system_access(world.project_id),
            vault=platform.vault,
            connector_id=connector.id,
            changes={"name": "New", "credentials": {"botToken": "1:NEW"}},
        )
        await connectors.delete_connector(
            session, system_access(world.project_id), connector_id=connector.id
        )
    created, updated, deleted = await audited(world, connector.id)
    assert [entry.action for entry in (created, updated, deleted)] == [
        "connector.created",
        "connector.updated",
        "connector.deleted",
    ]
    assert updated.before is not None
    assert updated.after is not None
    assert (updated.before["name"], updated.after["name"], updated.after["credentials"]) == (
        "telegram",
        "New",
        "replaced",
    )
    assert TOKEN not in str([(entry.before, entry.after) for entry in (created, updated, deleted)])


async def test_another_projects_connector_does_not_exist(world: World, platform: Platform) -> None:
    connector = await (await World.make(platform)).connector()
    async with platform.database.session() as session:
        with pytest.raises(ConnectorNotFound):
            await connectors.get_connector(
                session, system_access(world.project_id), connector_id=connector.id
            )
