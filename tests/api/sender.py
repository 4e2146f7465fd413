"""A project that sends: connectors, a template and a live key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import text

from backend import ids
from tests.api.accounts import Account, Api

PATH = "/api/v1/messages"


@dataclass
class Sender:
    """A project with a Sandbox, an e-mail and an SMS connector, a template and a live key."""

    api: Api
    account: Account
    key: str
    connectors: dict[str, str]
    template_id: str

    async def post(
        self,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        all_headers = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        if content is not None:
            all_headers.setdefault("Content-Type", "application/json")
            return await self.api.client.post(PATH, content=content, headers=all_headers)
        return await self.api.client.post(PATH, json=body, headers=all_headers)

    def body(self, **fields: Any) -> dict[str, Any]:
        return {"to": "ada", "connectorId": self.connectors["sandbox"], "message": "hi", **fields}

    async def total(self) -> int:
        answer = await self.api.get(self.account, PATH, projectId=self.account.project_id)
        total: int = answer.json()["pagination"]["total"]
        return total


CREDENTIALS: dict[str, dict[str, Any]] = {
    "smtp": {
        "host": "127.0.0.1",
        "port": 2525,
        "security": "none",
        "fromAddress": "shop@example.com",
    },
    "twilio": {"accountSid": "AC" + "0" * 32, "authToken": "0" * 32, "fromNumber": "+14155550100"},
}


async def make_sender(api: Api) -> Sender:
    account = await api.register()
    project = f"/api/v1/projects/{account.project_id}"
    listed = (await api.get(account, f"{project}/connectors")).json()["connectors"]
    connectors = {connector["type"]: connector["id"] for connector in listed}
    for type_, credentials in CREDENTIALS.items():
        created = await api.post(
            account,
            f"{project}/connectors",
            {"type": type_, "name": type_, "credentials": credentials},
        )
        assert created.status_code == 201, created.text
        connectors[type_] = created.json()["id"]
    template = {
        "name": "otp",
        "connectorType": "sandbox",
        "content": "Hi {{name}}, your code is {{code}}",
        "variables": ["name", "code"],
    }
    template_id = (await api.post(account, f"{project}/templates", template)).json()["id"]
    key = (await api.post(account, f"{project}/keys", {"name": "live"})).json()["key"]
    return Sender(api, account, key, connectors, template_id)


def fields_of(response: httpx.Response) -> set[tuple[str, str]]:
    return {(error["field"], error["code"]) for error in response.json()["details"]["errors"]}


async def call(sender: Sender, path: str, body: Any = None, **headers: str) -> httpx.Response:
    all_headers = {
        "Authorization": f"Bearer {sender.key}",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return await sender.api.client.post(f"/api/v1{path}", json=body, headers=all_headers)


async def shown(sender: Sender, message_id: str) -> dict[str, Any]:
    response = await sender.api.get(sender.account, f"{PATH}/{message_id}")
    assert response.status_code == 200, response.text
    message: dict[str, Any] = response.json()
    return message


async def set_status(sender: Sender, message_id: str, status: str) -> None:
    """As a worker leaves a message that has come to its end."""
    row_id = ids.decode(ids.MESSAGE, message_id)
    async with sender.api.platform.database.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("DELETE FROM send_queue WHERE message_id = :id"), {"id": row_id}
        )
        await connection.execute(
            text("UPDATE messages SET status = :s WHERE id = :id"), {"id": row_id, "s": status}
        )
