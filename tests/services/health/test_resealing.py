"""After a rotation of ENCRYPTION_KEY everything is encrypted again, and the old key can go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest_asyncio
from pydantic import SecretStr
from sqlmodel import select

from backend.crypto import Vault
from backend.ids import new_id
from backend.models import ApiKey, Connector
from backend.models.migrate import upgrade
from backend.models.send_token_secret import SendTokenSecret
from backend.platform import Platform
from backend.services.health.fingerprints import Fingerprints, settle_secrets
from backend.services.health.resealing import reseal
from backend.settings import Settings
from tests.world import World

_OLD, _NEW = "ab" * 32, "cd" * 32


@pytest_asyncio.fixture
async def platform(settings: Settings, make_database: Callable[[], str]) -> AsyncIterator[Platform]:
    """One with the old key, on a database of its own."""
    url = make_database()
    upgrade(url)
    changes = {"database_url": SecretStr(url), "encryption_key": SecretStr(_OLD)}
    platform = await Platform.open(settings.model_copy(update=changes))
    yield platform
    await platform.close()


class Rotation:
    """The processes of a rotation: which key each has, and which it can still decrypt with."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    def fingerprints(self, key: str, *previous: str) -> Fingerprints:
        changes = {
            "encryption_key": SecretStr(key),
            "encryption_key_previous": SecretStr(",".join(previous)) if previous else None,
        }
        return Fingerprints.of(self.platform.settings.model_copy(update=changes))

    async def start(self, key: str, *previous: str) -> None:
        async with self.platform.database.raw.connection() as connection:
            assert await settle_secrets(connection, self.fingerprints(key, *previous)) == []

    async def round(self, key: str, *previous: str) -> None:
        vault = Vault(key, *previous)
        async with self.platform.database.raw.connection() as connection:
            await reseal(vault, self.fingerprints(key, *previous), connection)

    async def sealed(self, connector: Connector) -> str:
        async with self.platform.database.session() as session:
            return (await session.get_one(Connector, connector.id)).credentials_encrypted


async def test_the_old_key_can_go_once_everything_is_encrypted_again(platform: Platform) -> None:
    world, rotation = await World.make(platform), Rotation(platform)
    await world.key()
    async with platform.database.session() as session:
        key = (await session.exec(select(ApiKey))).one()
    connectors = [await world.connector() for _ in range(3)]
    await SendTokenSecret.keep(
        platform.database.raw,
        kid="k1",
        key_id=key.id,
        project_id=world.project_id,
        key_hash=b"hash",
        secret_encrypted=platform.vault.encrypt("secret", context="k1"),
    )
    before = [await rotation.sealed(connector) for connector in connectors]
    await rotation.start(_OLD)
    await rotation.round(_NEW, _OLD)  # which no process has begun with
    assert [await rotation.sealed(connector) for connector in connectors] == before
    await rotation.start(_NEW, _OLD)
    await rotation.round(_NEW, _OLD)
    for connector in connectors:
        text = Vault(_NEW).decrypt(await rotation.sealed(connector), context=str(connector.id))
        assert text == "{}"
    async with platform.database.session() as session:
        secret = await session.get_one(SendTokenSecret, "k1")
    assert Vault(_NEW).decrypt(secret.secret_encrypted, context="k1") == "secret"
    after = [await rotation.sealed(connector) for connector in connectors]
    await rotation.round(_OLD, _NEW)  # one that was not restarted yet
    await rotation.round(_NEW, _OLD)
    assert [await rotation.sealed(connector) for connector in connectors] == after


async def test_what_cannot_be_decrypted_stays_and_stops_no_other(platform: Platform) -> None:
    world, rotation = await World.make(platform), Rotation(platform)
    copied, whole = await world.connector(), await world.connector()
    foreign = platform.vault.encrypt("{}", context=str(new_id()))
    async with platform.database.transaction() as session:
        (await session.get_one(Connector, copied.id)).credentials_encrypted = foreign
    await rotation.start(_NEW, _OLD)
    await rotation.round(_NEW, _OLD)
    assert await rotation.sealed(copied) == foreign
    Vault(_NEW).decrypt(await rotation.sealed(whole), context=str(whole.id))
