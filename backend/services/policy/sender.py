"""Who sends: what the policy asks and the message remembers of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from backend.services.catalog.catalog import CatalogKey


@dataclass(frozen=True, slots=True)
class Sender:
    """A key, or a member of the project through the dashboard (`key` is None).

    `origin`: the page's, as it says.
    """

    project_id: UUID
    mode: Literal["live", "test"]
    key: CatalogKey | None = None
    origin: str | None = None

    @classmethod
    def of_key(cls, key: CatalogKey, origin: str | None = None) -> Sender:
        return cls(key.project_id, "test" if key.mode == "test" else "live", key, origin)
