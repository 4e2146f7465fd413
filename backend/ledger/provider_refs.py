"""Whose a provider's message id is."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.rows import scalar_row

# Another message (same recipient and text, sent at the same time) may have been given it before.
_TAKE: Final = """
WITH taken AS (
    INSERT INTO provider_refs (connector_id, provider_message_id, message_id, created_at)
    VALUES (%(connector_id)s, %(provider_message_id)s, %(message_id)s, now())
    ON CONFLICT DO NOTHING RETURNING message_id
)
SELECT message_id FROM taken
UNION ALL
SELECT message_id FROM provider_refs
WHERE connector_id = %(connector_id)s AND provider_message_id = %(provider_message_id)s
"""


async def take_provider_id(
    connection: psycopg.AsyncConnection[Any],
    connector_id: UUID,
    provider_message_id: str,
    message_id: UUID,
) -> UUID | None:
    """Take a provider's id for a message; return whose it is now, which may be another's."""
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(
        _TAKE,
        {
            "connector_id": connector_id,
            "provider_message_id": provider_message_id,
            "message_id": message_id,
        },
    )
    return await cursor.fetchone()
