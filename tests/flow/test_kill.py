"""The product's promise: what was answered 202 is handed over once, whatever is killed meanwhile.

2,000 messages are accepted while a worker, the web server, Valkey, Postgres and the supervisor are
killed with SIGKILL, one after the other, and come back. A send that was cut off in the middle is
`uncertain` and not repeated; everything else arrives exactly once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
import pytest
import pytest_asyncio

from tests.providers.fakes import FakeTelegram
from tests.runtime.conftest import Up

MESSAGES: Final = 2000
SENDERS: Final = 16
PATIENCE_S: Final = 100.0
# After how many accepted messages each part dies.
DEATHS: Final = {200: "worker-1", 500: "web", 800: "valkey", 1100: "postgres", 1500: "supervisor"}

pytestmark = pytest.mark.timeout(180)


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram(latency_s=0.03) as fake:
        yield fake


@pytest.fixture
def up(telegram: FakeTelegram) -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="mjs-kill-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        # Short leases, so that what a dead worker held is settled within the test.
        (home / ".env").write_text(
            f"TELEGRAM_API_URL={telegram.base_url}\nLEASE_S=4\nPROVIDER_TIMEOUT_S=3\n"
            "RETRY_BASE_S=0.2\nDASHBOARD_RATE_LIMIT_PER_MINUTE=0\n"
        )
        up = Up(home / "data", "--workers", "2")
        yield up
        up.clean_up()


class Sender:
    """Sends every serial until it is accepted, under an Idempotency-Key of its own."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.accepted: dict[int, str] = {}
        self.key = ""
        self.connector_id = ""
        self.project_id = ""
        self.token = ""

    async def prepare(self) -> None:
        async with httpx.AsyncClient(base_url=self.base_url, timeout=10) as client:
            user = {"email": "kill@example.com", "password": "correct horse battery", "name": "Kill"}
            self.token = (await client.post("/api/v1/auth/register", json=user)).json()["token"]
            client.headers["Authorization"] = f"Bearer {self.token}"
            self.project_id = (await client.get("/api/v1/projects")).json()["projects"][0]["id"]
            project = f"/api/v1/projects/{self.project_id}"
            connector = {
                "type": "telegram",
                "name": "Bot",
                "credentials": {"botToken": "123456:kill-token-0123456789abcdefghijklm"},
            }
            self.connector_id = (await client.post(f"{project}/connectors", json=connector)).json()["id"]
            self.key = (await client.post(f"{project}/keys", json={"name": "kill"})).json()["key"]

    async def send_all(self) -> None:
        serials = iter(range(MESSAGES))
        async with httpx.AsyncClient(base_url=self.base_url, timeout=10) as client:
            await asyncio.gather(*(self._send_from(client, serials) for _ in range(SENDERS)))

    async def _send_from(self, client: httpx.AsyncClient, serials: Iterator[int]) -> None:
        for serial in serials:
            body = {"to": "42", "connectorId": self.connector_id, "message": f"serial {serial}"}
            headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": f"serial-{serial}"}
            while serial not in self.accepted:
                try:
                    answer = await client.post("/api/v1/messages", json=body, headers=headers)
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)
                    continue
                if answer.status_code == 202:
                    self.accepted[serial] = answer.json()["messageId"]
                else:
                    assert answer.status_code in {500, 503}, answer.text
                    await asyncio.sleep(0.1)

    async def counts(self) -> Counter[str]:
        """Return how many messages have each status, through the API; empty while it is away."""
        counts: Counter[str] = Counter()
        async with httpx.AsyncClient(base_url=self.base_url, timeout=10) as client:
            client.headers["Authorization"] = f"Bearer {self.token}"
            for status in ("pending", "sent", "uncertain", "failed"):
                query = {"projectId": self.project_id, "status": status, "limit": 1}
                try:
                    answer = await client.get("/api/v1/messages", params=query)
                except httpx.HTTPError:
                    return Counter()
                if answer.status_code != 200:
                    return Counter()
                counts[status] = answer.json()["pagination"]["total"]
        return counts

    async def message(self, message_id: str) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=self.base_url, timeout=10) as client:
            answer = await client.get(
                f"/api/v1/messages/{message_id}", headers={"Authorization": f"Bearer {self.token}"}
            )
        message: dict[str, Any] = answer.json()
        return message


async def _kill_in_turn(up: Up, sender: Sender) -> None:
    for after, name in DEATHS.items():
        while len(sender.accepted) < after:
            await asyncio.sleep(0.01)
        if name == "supervisor":
            family = up.family()
            up.running.kill()
            await asyncio.to_thread(up.running.wait, 10)
            await asyncio.to_thread(psutil.wait_procs, family, 15)
            up.start()
        else:
            os.kill(up.pid_of(name), signal.SIGKILL)


async def test_what_was_accepted_arrives_once_whatever_is_killed(up: Up, telegram: FakeTelegram) -> None:
    await asyncio.to_thread(up.start_and_wait)
    sender = Sender(f"http://127.0.0.1:{up.port}")
    await sender.prepare()
    started = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(sender.send_all(), _kill_in_turn(up, sender))
        counts = await sender.counts()
        while counts["pending"] or not counts:
            await asyncio.sleep(0.5)
            counts = await sender.counts()
    print(f"settled after {time.monotonic() - started:.1f} s: {dict(counts)}")  # noqa: T201 (the run's figures)

    assert len(set(sender.accepted.values())) == MESSAGES
    assert counts["sent"] + counts["uncertain"] == MESSAGES
    arrived = Counter(received.body["text"] for received in telegram.messages)
    assert max(arrived.values()) == 1, [text for text, times in arrived.items() if times > 1]
    for serial, message_id in sender.accepted.items():
        if f"serial {serial}" not in arrived:
            assert (await sender.message(message_id))["status"] == "uncertain"
    # Two workers die with their sends; more than a handful of unclear ones means something else is wrong.
    assert counts["uncertain"] <= 4 * SENDERS
