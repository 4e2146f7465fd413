"""Who sends: what the policy asks and the message remembers of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from backend.services.sending.catalog import CatalogKey


@dataclass(frozen=True, slots=True)
class Caller:
    """A key, or a member of the project through the dashboard (`key` is None)."""

    project_id: UUID
    mode: Literal["live", "test"]
    key: CatalogKey | None = None

    @classmethod
    def of_key(cls, key: CatalogKey) -> Caller:
        return cls(key.project_id, "test" if key.mode == "test" else "live", key)
