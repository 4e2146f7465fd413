"""Processes belong to a database by their secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import psycopg
import pytest_asyncio
from pydantic import SecretStr

from backend.models.migrate import upgrade
from backend.services.health.fingerprints import Fingerprints, settle_secrets, wrong_secrets
from backend.settings import Settings

_OLD, _NEW, _OTHER = "ab" * 32, "cd" * 32, "ef" * 32


def _of(
    settings: Settings, key: str = _OLD, *previous: str, pepper: str = "p" * 32
) -> Fingerprints:
    changes = {
        "encryption_key": SecretStr(key),
        "encryption_key_previous": SecretStr(",".join(previous)) if previous else None,
        "key_pepper": SecretStr(pepper),
    }
    return Fingerprints.of(settings.model_copy(update=changes))


@pytest_asyncio.fixture
async def connection(make_database: Callable[[], str]) -> AsyncIterator[psycopg.AsyncConnection]:
    url = make_database()
    upgrade(url)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


async def test_the_first_process_decides_and_another_key_is_refused(
    connection: psycopg.AsyncConnection, settings: Settings
) -> None:
    assert await settle_secrets(connection, _of(settings)) == []
    assert await settle_secrets(connection, _of(settings)) == []
    (problem,) = await settle_secrets(connection, _of(settings, _OTHER))
    assert "ENCRYPTION_KEY is not the one" in problem
    assert "ENCRYPTION_KEY_PREVIOUS" in problem
    (problem,) = await settle_secrets(connection, _of(settings, pepper="q" * 32))
    assert "KEY_PEPPER is not the one" in problem
    assert await settle_secrets(connection, _of(settings)) == []  # and nothing was replaced


async def test_a_rotated_key_takes_over_when_it_names_the_old_one(
    connection: psycopg.AsyncConnection, settings: Settings
) -> None:
    await settle_secrets(connection, _of(settings))
    assert await settle_secrets(connection, _of(settings, _NEW, _OTHER, _OLD)) == []
    assert await settle_secrets(connection, _of(settings, _NEW)) == []
    assert len(await settle_secrets(connection, _of(settings, _OLD))) == 1


async def test_asking_writes_nothing(
    connection: psycopg.AsyncConnection, settings: Settings
) -> None:
    assert await wrong_secrets(connection, _of(settings)) == []
    assert await (
        await connection.execute("SELECT count(*) FROM secret_fingerprints")
    ).fetchone() == (0,)


async def test_a_schema_older_than_the_fingerprints_accepts_every_process(
    make_database: Callable[[], str], settings: Settings
) -> None:
    async with await psycopg.AsyncConnection.connect(
        make_database(), autocommit=True
    ) as connection:
        assert await settle_secrets(connection, _of(settings)) == []


async def test_the_same_key_in_capitals_is_the_same_key(
    connection: psycopg.AsyncConnection, settings: Settings
) -> None:
    await settle_secrets(connection, _of(settings))
    assert await settle_secrets(connection, _of(settings, _OLD.upper())) == []


async def test_what_is_stored_tells_nothing_of_the_secret(
    connection: psycopg.AsyncConnection, settings: Settings
) -> None:
    await settle_secrets(connection, _of(settings))
    rows = await (
        await connection.execute("SELECT name, fingerprint FROM secret_fingerprints ORDER BY 1")
    ).fetchall()
    assert [name for name, _ in rows] == ["ENCRYPTION_KEY", "KEY_PEPPER"]
    assert all(len(fingerprint) == 16 and fingerprint not in _OLD for _, fingerprint in rows)
