"""What a send needs of its process; made once, in platform.py."""

from __future__ import annotations

from dataclasses import dataclass

from backend.crypto import Vault
from backend.ledger.accept import AcceptWriter
from backend.models.session import Database
from backend.services.catalog.catalog import Catalog
from backend.services.keys.key_usage import KeyUsage
from backend.services.limits.rate_limit import RateLimiter


@dataclass(frozen=True, slots=True)
class SendPath:
    """The parts that a message passes before it is accepted."""

    database: Database
    vault: Vault
    catalog: Catalog
    rate_limiter: RateLimiter
    key_usage: KeyUsage
    writer: AcceptWriter
