"""Fingerprints of the secrets: can this process read what the others wrote, and they what it
writes?

The first process to start leaves those of ENCRYPTION_KEY and KEY_PEPPER in the database. With
another ENCRYPTION_KEY a process could open no connector, with another KEY_PEPPER it would know no
API key, so it must not work. A rotated key needs nothing done: the old one is in
ENCRYPTION_KEY_PREVIOUS.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import psycopg

from backend.crypto import Vault
from backend.settings import Settings

# Slow enough that a fingerprint doesn't help to guess a secret that a person made up.
_ROUNDS: Final = 2**12
_BYTES: Final = 8

_REMEDIES: Final = {
    "ENCRYPTION_KEY": (
        "ENCRYPTION_KEY is not the one that this database's connectors are encrypted with. Set the"
        " key that the other processes use; after a rotation the old key belongs in"
        " ENCRYPTION_KEY_PREVIOUS."
    ),
    "KEY_PEPPER": (
        "KEY_PEPPER is not the one that this database's API keys are hashed with. Set the one that"
        " the other processes use; it cannot be changed without making all keys again."
    ),
}

_READ: Final = "SELECT name, fingerprint FROM secret_fingerprints"
_UNREADABLE: Final = """
SELECT count(*) FROM connectors
WHERE deleted_at IS NULL AND split_part(credentials_encrypted, '.', 2) <> ALL(%s)
"""
_LEAVE: Final = """
INSERT INTO secret_fingerprints (name, fingerprint, written_at) VALUES (%s, %s, now())
    ON CONFLICT (name) DO NOTHING
"""
_REPLACE: Final = """
UPDATE secret_fingerprints SET fingerprint = %s, written_at = now() WHERE name = %s
    AND fingerprint = %s
"""


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """`current` belongs in the database.

    One in the database that is in `readable` was made by an older key.
    """

    current: dict[str, str]
    readable: dict[str, frozenset[str]]
    jwt_secret: str | None
    # The ids of the keys that ciphertexts begin with.
    key_ids: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Fingerprints:
        """Raises MissingSetting if a secret that stored rows depend on is not set."""
        keys = [
            _fingerprint("ENCRYPTION_KEY", key.strip().lower())
            for key in settings.encryption_keys()
        ]
        pepper = _fingerprint("KEY_PEPPER", settings.require_key_pepper())
        jwt = settings.jwt_secret
        return cls(
            current={"ENCRYPTION_KEY": keys[0], "KEY_PEPPER": pepper},
            readable={"ENCRYPTION_KEY": frozenset(keys), "KEY_PEPPER": frozenset([pepper])},
            jwt_secret=_fingerprint("JWT_SECRET", jwt.get_secret_value()) if jwt else None,
            key_ids=Vault(*settings.encryption_keys()).key_ids,
        )


async def wrong_secrets(
    connection: psycopg.AsyncConnection[Any], fingerprints: Fingerprints
) -> list[str]:
    """Return what is wrong with this process's secrets, each a sentence with the remedy.

    Writes nothing.
    """
    stored = await _stored(connection)
    if stored is None:
        return []
    wrong = [
        name
        for name, known in fingerprints.readable.items()
        if name in stored and stored[name] not in known
    ]
    return [_REMEDIES[name] for name in wrong]


async def settle_secrets(
    connection: psycopg.AsyncConnection[Any], fingerprints: Fingerprints
) -> list[str]:
    """Store or replace the fingerprints if this process may; return the same as `wrong_secrets`."""
    stored = await _stored(connection)
    if stored is None:
        return []
    for name, current in fingerprints.current.items():
        if name not in stored:
            await connection.execute(_LEAVE, (name, current))
        elif stored[name] != current and stored[name] in fingerprints.readable[name]:
            await connection.execute(_REPLACE, (current, name, stored[name]))
    return await wrong_secrets(connection, fingerprints)


async def unreadable_connectors(
    connection: psycopg.AsyncConnection[Any], fingerprints: Fingerprints
) -> str | None:
    """Return a sentence with the remedy if connectors are encrypted with a key that this process
    does not have.
    """
    if await _stored(connection) is None:
        return None
    cursor = await connection.execute(_UNREADABLE, (list(fingerprints.key_ids),))
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return None
    which = "1 connector is" if row[0] == 1 else f"{row[0]} connectors are"
    return (
        f"{which} encrypted with a key that this process does not have, and cannot send. Add the"
        " key to ENCRYPTION_KEY_PREVIOUS, or enter the credentials again."
    )


async def _stored(connection: psycopg.AsyncConnection[Any]) -> dict[str, str] | None:
    """None: the schema is older than the fingerprints."""
    row = await (
        await connection.execute("SELECT to_regclass('secret_fingerprints') IS NOT NULL")
    ).fetchone()
    if row is None or not row[0]:
        return None
    return dict(await (await connection.execute(_READ)).fetchall())


@lru_cache(maxsize=16)  # scrypt is slow on purpose; a process that starts asks several times
def _fingerprint(name: str, secret: str) -> str:
    salt = f"messagejs:{name}".encode()
    return hashlib.scrypt(secret.encode(), salt=salt, n=_ROUNDS, r=8, p=1, dklen=_BYTES).hex()
