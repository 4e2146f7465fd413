"""One bad thing stops only itself: a worker without the key holds nothing up for the others."""

from __future__ import annotations

import asyncio
import secrets
from uuid import UUID

from pydantic import SecretStr
from sqlmodel import col, select

from backend.crypto import Vault
from backend.models import AuditEntry, Connector, ProjectMember
from backend.platform import Platform
from backend.queueing import ReadySet
from backend.services.accounts.mail import PlatformMail
from backend.services.delivery.broken import BrokenConnectors
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.unopened import UnopenedWatch
from backend.settings import Settings
from tests.providers.fakes import FakeSmtp, FakeTelegram
from tests.services.delivery.neighbours import (
    Workers,
)
from tests.world import make_engine


def _keyless(platform: Platform, telegram: FakeTelegram) -> DeliveryEngine:
    """An engine as a worker with another ENCRYPTION_KEY has it."""
    engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
    engine._connectors._vault = Vault(secrets.token_hex(32))
    return engine


async def test_a_worker_that_cannot_decrypt_holds_no_connector_for_others(workers: Workers) -> None:
    platform = workers.platform
    keyless = _keyless(platform, workers.telegram)
    ids = await workers.send_honest()
    await platform.doorbell.drain()
    for _ in range(3):
        await keyless.drain_slice(0.2)
    assert {(await workers.honest.message(message_id)).status for message_id in ids} == {"queued"}
    assert not await platform.redis.keys("hold:*")
    # Its turns are still there for a worker that has the key: no sweeper has to find them.
    await platform.doorbell.drain()
    await workers.engine.drain_slice(1)
    for message_id in ids:
        await workers.honest.wait_for(message_id, "sent", timeout_s=5)
    await keyless.close(1)


async def _seal(platform: Platform, connector_id: UUID, sealed: str) -> str:
    """Replace a connector's ciphertext, and return the one before."""
    async with platform.database.transaction() as session:
        connector = await session.get_one(Connector, connector_id)
        before, connector.credentials_encrypted = connector.credentials_encrypted, sealed
    return before


async def test_a_worker_takes_turns_again_when_a_connector_has_new_credentials(
    workers: Workers,
) -> None:
    platform = workers.platform
    keyless = _keyless(platform, workers.telegram)
    ids = await workers.send_honest()
    await platform.doorbell.drain()
    await keyless.drain_slice(0.2)
    assert keyless._connectors.unopened.avoided() == [workers.connector.id]
    assert keyless._connectors._vault is not platform.vault
    sealed = keyless._connectors._vault.encrypt(
        '{"botToken": "123456:test-token-0123456789abcdefghijklm"}',
        context=str(workers.connector.id),
    )
    before = await _seal(platform, workers.connector.id, sealed)
    keyless._connectors.expire(workers.connector.id)
    await UnopenedWatch(
        keyless._connectors.unopened,
        keyless._connectors.get_again,
        ReadySet(platform.redis),
        keyless._broken,
    ).round()
    assert keyless._connectors.unopened.avoided() == []
    await keyless.drain_slice(1)
    for message_id in ids:
        await workers.honest.wait_for(message_id, "sent", timeout_s=5)
    await keyless.close(1)
    # A connector that no key decrypts would be a warning of /readyz.
    await _seal(platform, workers.connector.id, before)


async def test_owners_get_a_mail_when_no_worker_can_open_a_connector_and_only_then(
    workers: Workers,
) -> None:
    platform, connector = workers.platform, workers.connector
    keyless = _keyless(platform, workers.telegram)
    connectors = keyless._connectors
    async with platform.database.session() as session:
        owners = await ProjectMember.owner_addresses(session, workers.honest.project_id)
    async with FakeSmtp() as smtp:
        url = SecretStr(f"smtp://{smtp.host}:{smtp.port}?security=none&from=hello@example.com")
        mail = PlatformMail(Settings(platform_smtp_url=url), platform.providers)
        broken = BrokenConnectors(platform.database, mail, public_url="https://mjs.example")
        watch = UnopenedWatch(
            connectors.unopened,
            connectors.get_again,
            ReadySet(platform.redis),
            broken,
            broken_after_s=0.3,
        )
        # A worker with the key takes the turns that this one leaves.
        await workers.send_honest()
        await platform.doorbell.drain()
        await keyless.drain_slice(0.2)
        await asyncio.sleep(0.4)
        await workers.engine.drain_slice(0.5)
        await watch.round()
        await mail.idle()
        assert smtp.mails == []
        # No worker takes them.
        ids = await workers.send_honest()
        await platform.doorbell.drain()
        await keyless.drain_slice(0.2)
        await asyncio.sleep(0.4)
        for _ in range(2):
            await watch.round()
        await mail.idle()
        await mail.aclose()
    (mail_sent,) = smtp.mails
    assert [*mail_sent.recipients] == owners
    assert "cannot open the connector" in str(mail_sent)
    async with platform.database.session() as session:
        (row,) = await Connector.find_many(session, {connector.id})
        query = select(AuditEntry).where(col(AuditEntry.subject_id) == connector.id)
        actions = [entry.action for entry in (await session.exec(query)).all()]
    assert row.broken_reason == "The connector's credentials cannot be read; enter them again."
    assert actions.count("connector.broken") == 1
    assert {(await workers.honest.message(message_id)).status for message_id in ids} == {"queued"}
    await keyless.close(1)
