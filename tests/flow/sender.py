"""A client that insists: it sends every serial until it is accepted, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx

from tests.plain_http import plain_client

SENDERS: Final = 16
_STATUSES: Final = ("pending", "sent", "delivered", "uncertain", "failed")


class Sender:
    """One project with a key; `accepted` maps each serial to the message that answered it."""

    def __init__(self, base_url: str, *, email: str = "sender@example.com") -> None:
        self.base_url = base_url
        self.email = email
        self.accepted: dict[int, str] = {}
        self.refusals: Counter[int] = Counter()
        self.key = ""
        self.project_id = ""
        self.token = ""

    async def register(self) -> None:
        async with self._client() as client:
            user = {"email": self.email, "password": "correct horse battery", "name": "Sender"}
            answer = await client.post("/api/v1/auth/register", json=user)
            assert answer.status_code == 201, answer.text
            self.token = answer.json()["token"]
        async with self._client() as client:
            self.project_id = (await client.get("/api/v1/projects")).json()["projects"][0]["id"]
            answer = await client.post(
                f"/api/v1/projects/{self.project_id}/keys", json={"name": "sender"}
            )
            self.key = answer.json()["key"]

    async def connector(self, token: str, **config: Any) -> str:
        """Return the id of a new Telegram connector; `token` is its bot token's second half."""
        body = {
            "type": "telegram",
            "name": token,
            "credentials": {"botToken": f"123456:{token:-<35}"},
            "config": {"pacing": {"perSecond": None, "perRecipientPerSecond": None}, **config},
        }
        async with self._client() as client:
            answer = await client.post(f"/api/v1/projects/{self.project_id}/connectors", json=body)
        assert answer.status_code == 201, answer.text
        connector_id: str = answer.json()["id"]
        return connector_id

    async def template(self, **fields: Any) -> str:
        async with self._client() as client:
            answer = await client.post(f"/api/v1/projects/{self.project_id}/templates", json=fields)
        assert answer.status_code == 201, answer.text
        template_id: str = answer.json()["id"]
        return template_id

    async def send_all(
        self, connector_id: str, count: int, body: Mapping[str, Any] | None = None
    ) -> None:
        """Send serials 0 .. count-1 as "serial N", each under an Idempotency-Key of its own, until
        all are accepted.
        """
        serials = iter(range(count))
        fields = {"to": "42", "connectorId": connector_id, **(body or {})}
        async with plain_client(self.base_url, timeout=10) as client:
            await asyncio.gather(
                *(self._send_from(client, serials, fields) for _ in range(SENDERS))
            )

    async def _send_from(
        self, client: httpx.AsyncClient, serials: Iterator[int], fields: Mapping[str, Any]
    ) -> None:
        for serial in serials:
            content = (
                {"variables": {"serial": f"serial {serial}"}}
                if "templateId" in fields
                else {"message": f"serial {serial}"}
            )
            headers = {
                "Authorization": f"Bearer {self.key}",
                "Idempotency-Key": f"{fields['connectorId']}-{serial}",
            }
            while serial not in self.accepted:
                try:
                    answer = await client.post(
                        "/api/v1/messages", json={**fields, **content}, headers=headers
                    )
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)
                    continue
                if answer.status_code == 202:
                    self.accepted[serial] = answer.json()["messageId"]
                else:
                    # What dies meanwhile is chance: 503 while a database is down, 500 where one
                    # ends a statement that it was running.
                    assert answer.status_code in {500, 503}, answer.text
                    self.refusals[answer.status_code] += 1
                    await asyncio.sleep(0.1)

    async def counts(self, connector_id: str) -> Counter[str]:
        """Return how many messages have each status, through the API; empty while it is down."""
        counts: Counter[str] = Counter()
        async with self._client() as client:
            for status in _STATUSES:
                query = {
                    "projectId": self.project_id,
                    "connector": connector_id,
                    "status": status,
                    "limit": "1",
                }
                try:
                    answer = await client.get("/api/v1/messages", params=query)
                except httpx.HTTPError:
                    return Counter()
                if answer.status_code != 200:
                    return Counter()
                counts[status] = answer.json()["pagination"]["total"]
        return counts

    async def settled(self, connector_id: str) -> Counter[str]:
        """Wait until nothing is on its way any more."""
        counts = await self.counts(connector_id)
        while counts["pending"] or not counts:
            await asyncio.sleep(0.1)
            counts = await self.counts(connector_id)
        return counts

    async def message(self, message_id: str) -> dict[str, Any]:
        async with self._client() as client:
            message: dict[str, Any] = (await client.get(f"/api/v1/messages/{message_id}")).json()
        return message

    def _client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return plain_client(self.base_url, timeout=10, headers=headers)
