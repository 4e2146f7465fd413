"""Who sends: what the policy asks and the message remembers of it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from backend.services.access.access import Access, Mode
from backend.services.catalog.catalog import CatalogKey


@dataclass(frozen=True, slots=True)
class Sender:
    """A key, or a member of the project through the dashboard (`key` is None).

    `origin`: the page's, as it says.
    """

    access: Access
    mode: Mode
    key: CatalogKey | None = None
    origin: str | None = None

    @property
    def project_id(self) -> UUID:
        return self.access.project_id

    @classmethod
    def of_key(
        cls, key: CatalogKey, origin: str | None = None, *, access: Access | None = None
    ) -> Sender:
        """`access`: with the address of the request, where the audit log asks for it."""
        return cls(access or key.access, "test" if key.mode == "test" else "live", key, origin)
