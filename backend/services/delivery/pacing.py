"""The pace to one recipient: providers want fewer messages a second to one chat than in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from uuid import UUID

from backend.dispatch.pacing import Pace
from backend.ledger.claims import Claim
from backend.services.delivery.open_connectors import OpenConnector


def recipient_paces(
    claims: Sequence[Claim], connectors: Mapping[UUID, OpenConnector]
) -> list[tuple[UUID, Pace]]:
    """Return the messages whose recipient has a pace, with it."""
    paced: list[tuple[UUID, Pace]] = []
    for claim in claims:
        connector = connectors[claim.connector_id]
        rate = connector.most_per_second_to(claim.recipient)
        if rate is not None:
            key = _pair(connector.pace_key, claim.recipient)
            paced.append((claim.message_id, Pace(key, rate)))
    return paced


def _pair(pace_key: str, recipient: str) -> str:
    return f"{pace_key}:{blake2b(recipient.encode(), digest_size=8).hexdigest()}"
