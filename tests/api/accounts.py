"""A client of the API, and the users, projects and keys that it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from backend.ids import new_id
from backend.platform import Platform

PASSWORD = "correct horse battery"


@dataclass
class Account:
    """A registered user with the first project that registering makes."""

    email: str
    password: str
    user_id: str
    project_id: str
    token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Api:
    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.app = app
        self.client = client

    @property
    def platform(self) -> Platform:
        platform: Platform = self.app.state.platform
        return platform

    def from_address(self, address: str) -> httpx.AsyncClient:
        """Return a client at another address; close it with `async with`."""
        return client_of(self.app, address)

    async def register(self, **fields: Any) -> Account:
        body = {"email": f"{new_id()}@example.com", "password": PASSWORD, "name": "Ada", **fields}
        response = await self.client.post("/api/v1/auth/register", json=body)
        assert response.status_code == 201, response.text
        answer = response.json()
        account = Account(
            email=answer["user"]["email"],
            password=body["password"],
            user_id=answer["user"]["id"],
            project_id="",
            token=answer["token"],
            refresh_token=answer["refreshToken"],
        )
        projects = await self.get(account, "/api/v1/projects")
        account.project_id = projects.json()["projects"][0]["id"]
        return account

    async def project(self, account: Account, name: str = "Second") -> str:
        """Return the id of a new project."""
        response = await self.post(account, "/api/v1/projects", {"name": name})
        assert response.status_code == 201, response.text
        project_id: str = response.json()["id"]
        return project_id

    async def key(
        self, account: Account, project_id: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Return the answer to creating a key; its text is under "key"."""
        path = f"/api/v1/projects/{project_id or account.project_id}/keys"
        response = await self.post(account, path, {"name": "Key", **fields})
        assert response.status_code == 201, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def get(self, account: Account, path: str, **params: Any) -> httpx.Response:
        return await self.client.get(path, headers=account.headers, params=params)

    async def post(self, account: Account, path: str, body: Any = None) -> httpx.Response:
        return await self.client.post(path, headers=account.headers, json=body)

    async def put(self, account: Account, path: str, body: Any) -> httpx.Response:
        return await self.client.put(path, headers=account.headers, json=body)

    async def delete(self, account: Account, path: str) -> httpx.Response:
        return await self.client.delete(path, headers=account.headers)


def client_of(app: FastAPI, address: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://messagejs.local")
