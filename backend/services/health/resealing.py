"""What an older ENCRYPTION_KEY encrypted is encrypted again with the current one, so that the older
one can be dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg
import structlog
from psycopg.rows import class_row

from backend.crypto import DecryptionFailed, Vault
from backend.services.health.fingerprints import Fingerprints

log = structlog.get_logger()

# Table -> the column that is the context of its ciphertexts, and that of the ciphertexts.
_SEALED: Final = {
    "connectors": ("id", "credentials_encrypted"),
    "send_token_secrets": ("kid", "secret_encrypted"),
}
_MOST: Final = 500  # a table and round
# Only under the key that the database has a fingerprint of: while a fleet is restarted, processes
# with the old key and those with the new one must not replace each other's ciphertexts.
_OLDER: Final = """
SELECT {context} AS context, {sealed} AS sealed FROM {table}
WHERE split_part({sealed}, '.', 2) = ANY(%(older)s) AND EXISTS (
    SELECT FROM secret_fingerprints WHERE name = 'ENCRYPTION_KEY' AND fingerprint = %(fingerprint)s
)
LIMIT %(most)s FOR UPDATE SKIP LOCKED
"""
_REPLACE: Final = "UPDATE {table} SET {sealed} = %s WHERE {context} = %s"


@dataclass(frozen=True, slots=True)
class _Ciphertext:
    context: Any  # a UUID or a text: the row's key
    sealed: str


async def reseal(
    vault: Vault, fingerprints: Fingerprints, connection: psycopg.AsyncConnection[Any]
) -> None:
    """Encrypt up to 500 ciphertexts of each table again.

    A process without older keys asks nothing.
    """
    older = vault.key_ids - {vault.current_key_id}
    if not older:
        return
    names = {"older": list(older), "fingerprint": fingerprints.current["ENCRYPTION_KEY"]}
    for table, (context, sealed) in _SEALED.items():
        columns = {"table": table, "context": context, "sealed": sealed}
        async with connection.transaction():
            async with connection.cursor(row_factory=class_row(_Ciphertext)) as cursor:
                await cursor.execute(_OLDER.format(**columns), {**names, "most": _MOST})
                rows = await cursor.fetchall()
            changes = [(again, row.context) for row in rows if (again := _again(vault, table, row))]
            if changes:
                async with connection.cursor() as cursor:
                    await cursor.executemany(_REPLACE.format(**columns), changes)
        if changes:
            log.info("secrets.encrypted_again", table=table, rows=len(changes))


def _again(vault: Vault, table: str, row: _Ciphertext) -> str | None:
    """One that was changed or copied stays as it is."""
    context = str(row.context)
    try:
        return vault.encrypt(vault.decrypt(row.sealed, context=context), context=context)
    except DecryptionFailed as exc:
        log.warning("secrets.unreadable", table=table, row=context, reason=str(exc))
        return None
