"""A tenant over HTTP whose rows are made when a path names them, and can be compared as a whole."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text
from sqlmodel import SQLModel

from backend import ids
from tests.api.accounts import Account, Api

# Tables whose owner is their own id.
_OWNERS: Final = {"projects": "id", "users": "id"}


class Tenant:
    """One tenant's rows, made when a route names them."""

    def __init__(self, api: Api, account: Account) -> None:
        self.api = api
        self.account = account
        self.project_id = account.project_id
        self.key = ""

    async def fresh_project(self) -> None:
        self.project_id = await self.api.project(self.account)
        self.key = (await self.api.key(self.account, self.project_id))["key"]

    async def id_of(self, name: str) -> str:
        """Return the id that a path's parameter names."""
        makers = {
            "projectId": self._project,
            "userId": self._user,
            "sessionId": self._session,
            "keyId": self._key,
            "connectorId": self._connector,
            "templateId": self._template,
            "messageId": self._message,
            "routeId": self._route,
            "campaignId": self._campaign,
            "invitationId": self._invitation,
        }
        assert name in makers, (
            f"No maker for {{{name}}}; add one to Tenant, so that its routes are tested."
        )
        return await makers[name]()

    async def _project(self) -> str:
        return self.project_id

    async def _user(self) -> str:
        return self.account.user_id

    async def _session(self) -> str:
        # Another one than the tests', since its owner gets to end it.
        credentials = {"email": self.account.email, "password": self.account.password}
        assert (
            await self.api.client.post("/api/v1/auth/login", json=credentials)
        ).status_code == 200
        return str(
            (await self.api.get(self.account, "/api/v1/auth/sessions")).json()["sessions"][0]["id"]
        )

    async def _key(self) -> str:
        return str((await self.api.key(self.account, self.project_id))["id"])

    async def _connector(self) -> str:
        return await self._created("connectors", {"type": "sandbox", "name": "Sandbox"})

    async def _template(self) -> str:
        return await self._created(
            "templates", {"name": "Hello", "connectorType": "sandbox", "content": "Hello"}
        )

    async def _route(self) -> str:
        return await self._created(
            "routes", {"name": str(ids.new_id()), "steps": [{"channel": "sandbox"}]}
        )

    async def _invitation(self) -> str:
        return await self._created(
            "invitations", {"email": f"{ids.new_id()}@example.com", "role": "viewer"}
        )

    async def _message(self) -> str:
        body = {"to": "someone", "connector": "sandbox", "message": "Private"}
        sent = await self.api.client.post("/api/v1/messages", json=body, headers=self.key_headers)
        assert sent.status_code == 202, sent.text
        await self.api.platform.key_usage.flush()
        return str(sent.json()["messageId"])

    async def _campaign(self) -> str:
        body = {
            "name": "Sale",
            "connector": "sandbox",
            "message": "Private",
            "csv": "to\nsomeone\n",
        }
        created = await self.api.client.post(
            "/api/v1/campaigns", json=body, headers=self.key_headers
        )
        assert created.status_code == 201, created.text
        return str(created.json()["id"])

    async def _created(self, kind: str, body: dict[str, Any]) -> str:
        created = await self.api.post(
            self.account, f"/api/v1/projects/{self.project_id}/{kind}", body
        )
        assert created.status_code == 201, created.text
        return str(created.json()["id"])

    @property
    def key_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def rows(self) -> dict[str, list[str]]:
        """Return every row of every table that is this tenant's."""
        project_id, user_id = (
            ids.decode(ids.PROJECT, self.project_id),
            ids.decode(ids.USER, self.account.user_id),
        )
        result: dict[str, list[str]] = {}
        async with self.api.platform.database.engine.connect() as connection:
            for name, table in SQLModel.metadata.tables.items():
                owner = _OWNERS.get(name) or next(
                    (c for c in ("project_id", "user_id") if c in table.columns), None
                )
                if owner is None:
                    continue
                value = user_id if owner == "user_id" or name == "users" else project_id
                query = f"SELECT to_jsonb(t)::text FROM {name} t WHERE {owner} = :owner ORDER BY 1"
                result[name] = list(
                    (await connection.execute(text(query), {"owner": value})).scalars()
                )
        return result
