"""Reference 002, every error code that it lists, provoked over HTTP with the status that it gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text

from backend import ids
from backend.models import ProjectMember
from backend.models.session import Change
from backend.providers.frame.registry import provider_types
from backend.services.accounts.tokens import AccessClaims, sign_access_token
from backend.settings import Settings
from tests.api.apps import another_api
from tests.api.conftest import PASSWORD, Account, Api
from tests.api.tenant import Tenant
from tests.providers.fakes import refused_port

# All of them, as the reference lists them. api.md gives a connector's INVALID_CREDENTIALS a name of
# its own.
CODES: Final = """
INVALID_CREDENTIALS 401
TOKEN_EXPIRED 401
INVALID_TOKEN 401
MISSING_API_KEY 401
INVALID_API_KEY 401
API_KEY_EXPIRED 401
INVALID_EMAIL 400
INVALID_PHONE 400
MISSING_REQUIRED_FIELD 400
INVALID_CONNECTOR_TYPE 400
RATE_LIMIT_EXCEEDED 429
QUOTA_EXCEEDED 429
PROJECT_NOT_FOUND 404
CONNECTOR_NOT_FOUND 404
TEMPLATE_NOT_FOUND 404
ACCESS_DENIED 403
CONNECTOR_ERROR 500
INVALID_CONNECTOR_CREDENTIALS 400
CONNECTOR_NOT_ACTIVE 400
THIRD_PARTY_ERROR 502
INTERNAL_ERROR 500
DATABASE_ERROR 500
SERVICE_UNAVAILABLE 503
"""
NOBODY: Final = "01h455vb4pex5vsknk084sn02q"
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
from backend.providers.frame import Accepted, Credentials, Health, Provider

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


@pytest_asyncio.fixture
async def scene(api: Api, ada: Account, settings: Settings, tmp_path: Path) -> Scene:
    del ada  # registered first, which makes an administrator
    tenant = Tenant(api, await api.register())
    await tenant.fresh_project()
    scene = Scene(api, settings, tenant, "", "", tmp_path)
    scene.connector_id = (await scene.post("/connectors", WHATSAPP)).json()["id"]
    scene.template_id = (await scene.post("/templates", TEMPLATE)).json()["id"]
    return scene


async def invalid_credentials(scene: Scene) -> list[httpx.Response]:
    body = {"email": scene.account.email, "password": "wrong password"}
    async with scene.api.from_address("198.51.100.77") as client:
        return [
            await client.post("/api/v1/auth/login", json=body),
            await client.post("/api/v1/auth/login", json={**body, "email": "nobody@example.com"}),
        ]


async def _me(scene: Scene, token: str) -> httpx.Response:
    return await scene.api.client.get(
        "/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"}
    )


async def token_expired(scene: Scene) -> list[httpx.Response]:
    secret = scene.settings.require_jwt_secret()
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    return [
        await _me(
            scene,
            sign_access_token(
                secret, AccessClaims(UUID(int=1), UUID(int=2)), now=an_hour_ago, life_s=60
            ),
        )
    ]


async def invalid_token(scene: Scene) -> list[httpx.Response]:
    ended = (await scene.api.register()).token
    headers = {"Authorization": f"Bearer {ended}"}
    assert (await scene.api.client.post("/api/v1/auth/logout", headers=headers)).status_code == 204
    refresh = await scene.api.client.post("/api/v1/auth/refresh", json={"refreshToken": "nonsense"})
    return [await _me(scene, "nonsense"), await _me(scene, ""), await _me(scene, ended), refresh]


async def missing_api_key(scene: Scene) -> list[httpx.Response]:
    return [await scene.send("")]


async def invalid_api_key(scene: Scene) -> list[httpx.Response]:
    key = await scene.api.key(scene.account, scene.tenant.project_id)
    await scene.api.delete(scene.account, f"{scene.project}/keys/{key['id']}")
    return [await scene.send("sk_live_" + "x" * 32), await scene.send(key["key"])]


async def api_key_expired(scene: Scene) -> list[httpx.Response]:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    key = await scene.api.key(scene.account, scene.tenant.project_id, expiresAt=soon)
    await _run(
        scene,
        "UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = :id",
        ids.KEY,
        key["id"],
    )
    return [await scene.send(key["key"])]


async def _run(scene: Scene, statement: str, prefix: str, shown_id: str, **values: Any) -> None:
    row_id = ids.decode(prefix, shown_id)
    assert row_id is not None
    platform = scene.api.platform
    async with platform.database.transaction() as session:
        await (await session.connection()).execute(text(statement), {"id": row_id, **values})
    await platform.tell_changes({Change("key" if prefix == ids.KEY else "project", row_id)})


async def invalid_email(scene: Scene) -> list[httpx.Response]:
    body = {"email": "not an address", "password": PASSWORD}
    return [
        await scene.api.client.post("/api/v1/auth/register", json=body),
        await scene.api.client.post("/api/v1/auth/password-reset", json={"email": "user@"}),
        await scene.post("/invitations", {"email": "user", "role": "viewer"}),
    ]


async def invalid_phone(scene: Scene) -> list[httpx.Response]:
    return [await scene.send(to="not a phone"), await scene.send(to="+0123456789")]


async def missing_required_field(scene: Scene) -> list[httpx.Response]:
    return [
        await scene.send(to=...),
        await scene.send(message=...),
        await scene.send(connectorId=...),
        await scene.send(message=..., templateId=scene.template_id),
        await scene.post("/keys", {"rateLimit": 1000}),
        await scene.post("/connectors", {**WHATSAPP, "credentials": {}}),
        await scene.post("/templates", {"name": "Welcome"}),
        await scene.api.client.post("/api/v1/auth/register", json={"email": "user@example.com"}),
        await scene.api.client.post("/api/v1/auth/login", json={"password": PASSWORD}),
        await scene.api.post(scene.account, "/api/v1/projects", {}),
        await scene.api.get(scene.account, "/api/v1/messages"),
        await scene.api.get(scene.account, "/api/v1/analytics/messages"),
    ]


async def invalid_connector_type(scene: Scene) -> list[httpx.Response]:
    listed = await scene.api.get(
        scene.account, "/api/v1/messages", projectId=scene.tenant.project_id, connector="pigeon"
    )
    return [
        await scene.send(connectorId=..., connector="pigeon"),
        await scene.post("/connectors", {**WHATSAPP, "type": "pigeon"}),
        await scene.post("/templates", {**TEMPLATE, "connectorType": "pigeon"}),
        listed,
    ]


async def rate_limit_exceeded(scene: Scene) -> list[httpx.Response]:
    key = (await scene.api.key(scene.account, scene.tenant.project_id, rateLimit=1))["key"]
    assert (await scene.send(key)).status_code == 202
    return [await scene.send(key)]


async def quota_exceeded(scene: Scene) -> list[httpx.Response]:
    async with another_api(scene.settings, free_monthly_quota=1) as api:
        statement = "UPDATE projects SET plan = 'free' WHERE id = :id"
        other = Scene(
            api, scene.settings, Tenant(api, scene.account), scene.connector_id, "", scene.directory
        )
        other.tenant.project_id, other.tenant.key = scene.tenant.project_id, scene.tenant.key
        await _run(other, statement, ids.PROJECT, other.tenant.project_id)
        assert (await other.send()).status_code == 202
        return [await other.send()]


async def project_not_found(scene: Scene) -> list[httpx.Response]:
    stranger = await scene.api.register()
    return [
        await scene.api.get(scene.account, f"/api/v1/projects/proj_{NOBODY}"),
        await scene.api.get(stranger, scene.project),
        await scene.api.get(stranger, f"{scene.project}/keys"),
        await scene.api.get(stranger, "/api/v1/messages", projectId=scene.tenant.project_id),
        await scene.send(projectId=stranger.project_id),
    ]


async def connector_not_found(scene: Scene) -> list[httpx.Response]:
    return [
        await scene.send(connectorId=f"conn_{NOBODY}"),
        await scene.send(connectorId=..., connector="telegram"),
        await scene.api.get(scene.account, f"{scene.project}/connectors/conn_{NOBODY}"),
        await scene.post(f"/connectors/conn_{NOBODY}/test", None),
    ]


async def template_not_found(scene: Scene) -> list[httpx.Response]:
    return [
        await scene.send(message=..., templateId=f"tpl_{NOBODY}"),
        await scene.api.get(scene.account, f"{scene.project}/templates/tpl_{NOBODY}"),
    ]


async def access_denied(scene: Scene) -> list[httpx.Response]:
    viewer = await scene.api.register()
    project_id = ids.decode(ids.PROJECT, scene.tenant.project_id)
    user_id = ids.decode(ids.USER, viewer.user_id)
    assert project_id is not None
    assert user_id is not None
    async with scene.api.platform.database.transaction() as session:
        session.add(ProjectMember(project_id=project_id, user_id=user_id, role="viewer"))
    assert (await scene.api.get(viewer, scene.project)).status_code == 200
    return [
        await scene.api.put(viewer, scene.project, {"name": "Mine"}),
        await scene.api.delete(viewer, scene.project),
        await scene.api.post(viewer, f"{scene.project}/connectors", WHATSAPP),
        await scene.api.post(viewer, f"{scene.project}/keys", {"name": "Mine"}),
    ]


async def connector_error(scene: Scene) -> list[httpx.Response]:
    with _raven_post(scene.directory):
        body = {"type": "raven", "name": "Birds"}
        made = (await scene.post("/connectors", body)).json()
        answers = [
            await scene.post("/connectors?verify=true", body),
            await scene.post(f"/connectors/{made['id']}/test", None),
        ]
    assert not any("secret" in answer.text for answer in answers)
    return answers


@contextmanager
def _raven_post(directory: Path) -> Iterator[None]:
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


async def invalid_connector_credentials(scene: Scene) -> list[httpx.Response]:
    credentials = {"accountSid": "ACxxx...", "authToken": "xxx...", "fromNumber": "+0"}
    return [
        await scene.post(
            "/connectors", {"type": "twilio", "name": "SMS", "credentials": credentials}
        )
    ]


async def connector_not_active(scene: Scene) -> list[httpx.Response]:
    path = f"{scene.project}/connectors/{scene.connector_id}"
    assert (await scene.api.put(scene.account, path, {"isActive": False})).status_code == 200
    return [await scene.send()]


async def third_party_error(scene: Scene) -> list[httpx.Response]:
    credentials = {
        "host": "127.0.0.1",
        "port": refused_port(),
        "security": "none",
        "fromAddress": "a@example.com",
    }
    body = {"type": "smtp", "name": "Mail", "credentials": credentials}
    return [await scene.post("/connectors?verify=true", body)]


async def internal_error(scene: Scene) -> list[httpx.Response]:
    async def explode() -> None:
        raise RuntimeError("secret of the house")

    async with another_api(scene.settings) as api:
        api.app.add_api_route("/api/v1/explode", explode)
        answer = await api.client.get("/api/v1/explode")
    assert "secret" not in answer.text
    return [answer]


async def database_error(scene: Scene) -> list[httpx.Response]:
    """A rule of the database's that the code knows nothing of."""
    async with _rule(scene, "CHECK (name <> 'refused by the database') NOT VALID"):
        return [
            await scene.api.post(
                scene.account, "/api/v1/projects", {"name": "refused by the database"}
            )
        ]


@asynccontextmanager
async def _rule(scene: Scene, rule: str) -> AsyncIterator[None]:
    engine = scene.api.platform.database.engine
    async with engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE projects ADD CONSTRAINT unexpected {rule}"))
    yield
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE projects DROP CONSTRAINT unexpected"))


async def service_unavailable(scene: Scene) -> list[httpx.Response]:
    away = SecretStr("postgresql://app:secret@127.0.0.1:1/app")
    body = {"email": "user@example.com", "password": PASSWORD}
    async with another_api(scene.settings, database_url=away) as api:
        return [await api.client.post("/api/v1/auth/login", json=body)]


@pytest.mark.parametrize("line", CODES.split("\n")[1:-1])
async def test_an_error_has_the_references_code_and_status(scene: Scene, line: str) -> None:
    code, status = line.split()
    answers: list[httpx.Response] = await globals()[code.lower()](scene)
    assert answers
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (int(status), code), answer.text
        assert {name: type(value) for name, value in answer.json().items()} == {
            "error": str,
            "code": str,
            "details": dict,
            "requestId": str,
        }


async def test_a_regenerated_keys_old_text_expires(scene: Scene) -> None:
    key = await scene.api.key(scene.account, scene.tenant.project_id)
    regenerated = await scene.post(f"/keys/{key['id']}/regenerate", {"overlap": 1})
    deadline = datetime.fromisoformat(regenerated.json()["previousKeyExpiresAt"])
    while (answer := await scene.send(key["key"])).status_code == 202:
        await asyncio.sleep(0.1)
    assert datetime.now(UTC) >= deadline
    assert (answer.status_code, answer.json()["code"]) == (401, "API_KEY_EXPIRED")
