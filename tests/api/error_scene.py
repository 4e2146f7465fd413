"""A project to provoke errors in: with rows changed behind the API, and a faulty provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import text

from backend import ids
from backend.models.session import Change
from backend.providers.frame.registry import provider_types
from backend.settings import Settings
from tests.api.accounts import Account, Api
from tests.api.tenant import Tenant

WHATSAPP: Final[dict[str, Any]] = {
    "type": "whatsapp",
    "name": "Business WhatsApp",
    "credentials": {"phoneNumberId": "123456789", "accessToken": "EAAG..."},
}
TEMPLATE: Final = {
    "name": "Welcome",
    "connectorType": "whatsapp",
    "content": "Hello {{name}}",
    "variables": ["name"],
}
# A provider that somebody else wrote, and got wrong.
RAVEN: Final = """
from backend.providers.frame.provider import Accepted, Credentials, Health, Provider

class NoCredentials(Credentials): ...

class Raven(Provider[NoCredentials]):
    type = "raven"
    channel = "raven"
    title = "Raven post"
    summary = "Messages by bird."
    recipient_kind = "any"
    recipient_example = "loft 4"
    capabilities = frozenset()
    credentials_model = NoCredentials
    @classmethod
    def validate_recipient(cls, to): return to
    async def validate(self): raise KeyError("loft, secret of the house")
    async def send(self, message): return Accepted(None)
"""


@dataclass
class Scene:
    """A project with a WhatsApp connector, a template and a key."""

    api: Api
    settings: Settings
    tenant: Tenant
    connector_id: str
    template_id: str
    directory: Path

    @property
    def account(self) -> Account:
        return self.tenant.account

    @property
    def project(self) -> str:
        return f"/api/v1/projects/{self.tenant.project_id}"

    def body(self, **changes: Any) -> dict[str, Any]:
        good: dict[str, Any] = {
            "to": "+1234567890",
            "connectorId": self.connector_id,
            "message": "Hello",
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not ...}

    async def send(self, key: str | None = None, **changes: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tenant.key if key is None else key}"}
        return await self.api.client.post(
            "/api/v1/messages", json=self.body(**changes), headers=headers if key != "" else {}
        )

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.api.post(self.account, f"{self.project}{path}", body)

    async def me(self, token: str) -> httpx.Response:
        return await self.api.client.get(
            "/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}
        )

    async def execute(self, statement: str, prefix: str, shown_id: str) -> None:
        """Run a statement on the row `:id`, which is a key or a project."""
        row_id = ids.decode(prefix, shown_id)
        assert row_id is not None
        platform = self.api.platform
        async with platform.database.transaction() as session:
            await (await session.connection()).execute(text(statement), {"id": row_id})
        await platform.tell_changes({Change("key" if prefix == ids.KEY else "project", row_id)})


async def open_scene(api: Api, settings: Settings, directory: Path) -> Scene:
    tenant = Tenant(api, await api.register())
    await tenant.fresh_project()
    scene = Scene(api, settings, tenant, "", "", directory)
    scene.connector_id = (await scene.post("/connectors", WHATSAPP)).json()["id"]
    scene.template_id = (await scene.post("/templates", TEMPLATE)).json()["id"]
    return scene


@contextmanager
def raven_post(directory: Path) -> Iterator[None]:
    """A distribution on sys.path, as pip would leave it."""
    (directory / "raven_post.py").write_text(RAVEN)
    info = directory / "raven_post-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: raven-post\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[messagejs.providers]\nraven = raven_post:Raven\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        provider_types.cache_clear()
        yield
    provider_types.cache_clear()


@asynccontextmanager
async def unexpected_rule(scene: Scene, rule: str) -> AsyncIterator[None]:
    engine = scene.api.platform.database.engine
    async with engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE projects ADD CONSTRAINT unexpected {rule}"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE projects DROP CONSTRAINT unexpected"))
