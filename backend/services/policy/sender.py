"""Who sends a message: what limits apply, and what the message remembers."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from backend.services.access.access import Access, Mode
from backend.services.catalog.catalog import CatalogKey


@dataclass(frozen=True, slots=True)
class Sender:
    """A user or the system (`key` is None), or an API key.

    `origin`: the web page's origin, as the browser says.
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
        """`access`: one with the request's address, where the audit log needs it."""
        return cls(access or key.access, "test" if key.mode == "test" else "live", key, origin)
