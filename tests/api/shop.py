"""A shop whose pages send with tokens of its backend."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from backend import ids
from backend.services.keys.send_tokens import AUDIENCE, signing_secret
from tests.api.accounts import Account, Api

MESSAGES = "/api/v1/messages"
TOKENS = "/api/v1/send-tokens"
SHOP = "https://shop.example"
BLOCKED = (403, "SEND_BLOCKED")


@dataclass
class Shop:
    """A project with a `signed` template, a secret key, and the key that stands in the shop's
    pages.
    """

    api: Api
    account: Account
    secret: str
    page: str
    template_id: str
    connector_id: str

    async def token(self, **body: Any) -> str:
        created = await self.ask({"to": "ada", "variables": {"code": "42"}, **body})
        assert created.status_code == 201, created.text
        return str(created.json()["sendToken"])

    async def ask(self, body: dict[str, Any], key: str | None = None) -> httpx.Response:
        whole = {"templateId": self.template_id, **body}
        return await self.api.client.post(
            TOKENS, json=whole, headers={"Authorization": f"Bearer {key or self.secret}"}
        )

    def forged(self, *, key: str | None = None, **changes: Any) -> str:
        """A token as `key`'s holder signs it, but for the claims that change; None leaves one
        out.
        """
        now = int(time.time())
        claims = {
            "aud": AUDIENCE, "iat": now, "exp": now + 60, "jti": ids.new_id().hex,
            "templateId": self.template_id,
            "to": "ada", "variables": {"code": "42"}, **changes,
        }  # fmt: skip
        kid, secret = signing_secret(key or self.secret)
        payload = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(payload, secret, algorithm="HS256", headers={"kid": kid})

    async def send(
        self,
        token: str | None,
        *,
        key: str | None = None,
        origin: str | None = SHOP,
        path: str = MESSAGES,
        idempotency: str | None = None,
        **body: Any,
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key or self.page}"}
        if origin is not None:
            headers["Origin"] = origin
        if idempotency is not None:
            headers["Idempotency-Key"] = idempotency
        whole = {"variables": {"name": "Ada"}, "sendToken": token, **body}
        whole = {name: value for name, value in whole.items() if value is not None}
        return await self.api.client.post(path, json=whole, headers=headers)

    async def messages(self) -> list[dict[str, Any]]:
        answer = await self.api.get(self.account, MESSAGES, projectId=self.account.project_id)
        listed: list[dict[str, Any]] = answer.json()["messages"]
        return listed


async def open_shop(api: Api) -> Shop:
    account = await api.register()
    project = f"/api/v1/projects/{account.project_id}"
    (sandbox,) = (await api.get(account, f"{project}/connectors")).json()["connectors"]
    template = {
        "name": "code", "connectorType": "sandbox", "content": "Hi {{name}}, your code is {{code}}",
        "access": "signed",
    }  # fmt: skip
    created = await api.post(account, f"{project}/templates", template)
    assert created.status_code == 201, created.text
    secret = (await api.key(account))["key"]
    page = (await api.key(account, kind="publishable", allowedOrigins=[SHOP]))["key"]
    return Shop(api, account, secret, page, created.json()["id"], sandbox["id"])


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json().get("code")
