"""The Python client against the running product, and against servers that fail."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from messagejs import (
    AsyncClient,
    Client,
    ConnectionFailed,
    InvalidRequest,
    NotFound,
    RateLimited,
    create_send_token,
)

from tests.providers.fakes import refused_port
from tests.runtime.conftest import Up

pytestmark = pytest.mark.timeout(90)


@dataclass(frozen=True)
class Tenant:
    """A new project: a secret key, a key for pages, and a template that pages may send by token."""

    key: str
    page_key: str
    template_id: str


PAGE = "https://shop.example"


@pytest.fixture(scope="module")
def tenant(up: Up) -> Tenant:
    with httpx.Client(base_url=f"http://127.0.0.1:{up.port}") as http:
        user = {
            "email": "client@example.com",
            "password": "correct horse battery",
            "name": "Client",
        }
        http.headers["Authorization"] = (
            f"Bearer {http.post('/api/v1/auth/register', json=user).json()['token']}"
        )
        project = http.get("/api/v1/projects").json()["projects"][0]["id"]
        path = f"/api/v1/projects/{project}"
        page = {"name": "page", "kind": "publishable", "allowedOrigins": [PAGE]}
        template = {
            "name": "code",
            "connectorType": "sandbox",
            "content": "{{name}}: {{code}}",
            "access": "signed",
        }
        return Tenant(
            http.post(f"{path}/keys", json={"name": "client"}).json()["key"],
            http.post(f"{path}/keys", json=page).json()["key"],
            http.post(f"{path}/templates", json=template).json()["id"],
        )


@pytest.fixture(scope="module")
def key(tenant: Tenant) -> str:
    return tenant.key


@pytest.fixture
def client(up: Up, key: str) -> Iterator[Client]:
    with Client(key, base_url=f"http://127.0.0.1:{up.port}") as client:
        yield client


def test_a_message_is_sent_and_read_back(client: Client) -> None:
    sent = client.send(
        to="sandbox:delivered", connector="sandbox", message="Hello", metadata={"order": 17}
    )
    assert not sent.is_replay
    ends_at = time.monotonic() + 10
    while (message := client.get(sent.message_id)).status != "delivered":
        assert time.monotonic() < ends_at, message
        time.sleep(0.05)
    assert (message.text, message.attempts[0].outcome) == ("Hello", "accepted")


def test_the_same_idempotency_key_gets_the_same_message(client: Client) -> None:
    sends = [
        client.send(to="a", connector="sandbox", message="x", idempotency_key="order-17")
        for _ in range(2)
    ]
    assert sends[0].message_id == sends[1].message_id
    assert [sent.is_replay for sent in sends] == [False, True]


def test_iterating_goes_through_all_pages_once(client: Client) -> None:
    ids = {
        client.send(to="pages", connector="sandbox", message=str(number)).message_id
        for number in range(120)
    }
    listed = [message.id for message in client.messages(recipient="pages")]
    assert len(listed) == 120
    assert set(listed) == ids


def test_errors_are_typed_and_carry_what_the_server_said(client: Client) -> None:
    with pytest.raises(InvalidRequest) as refused:
        client.send(to="a", connector="pigeon", message="x")
    assert refused.value.code == "INVALID_CONNECTOR_TYPE"
    assert refused.value.errors[0]["field"] == "connector"
    assert refused.value.request_id
    with pytest.raises(NotFound):
        client.get("msg_01kah5w8c2e3n9d7r4x6t0v1yz")


def _send_from_page(up: Up, tenant: Tenant, token: str) -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{up.port}/api/v1/messages",
        headers={"Authorization": f"Bearer {tenant.page_key}", "Origin": PAGE},
        json={"sendToken": token, "variables": {"name": "Ada"}},
    )


async def test_a_page_sends_with_a_token_however_it_was_made(
    up: Up, tenant: Tenant, client: Client
) -> None:
    wish: dict[str, Any] = {
        "template_id": tenant.template_id,
        "to": "page",
        "variables": {"code": "42"},
    }
    async with AsyncClient(tenant.key, base_url=f"http://127.0.0.1:{up.port}") as async_client:
        asked = [client.send_tokens.create(**wish), await async_client.send_tokens.create(**wish)]
    for token in (*asked, create_send_token(tenant.key, **wish)):
        assert datetime.now(UTC) < token.expires_at
        sent = _send_from_page(up, tenant, token.send_token)
        assert sent.status_code == 202, sent.text
        assert client.get(sent.json()["messageId"]).text == "Ada: 42"
        assert _send_from_page(up, tenant, token.send_token).status_code == 403
    with pytest.raises(InvalidRequest, match="UNKNOWN_VARIABLE"):
        client.send_tokens.create(
            template_id=tenant.template_id, to="page", variables={"colour": "red"}
        )


async def test_the_async_client_does_the_same(up: Up, key: str) -> None:
    async with AsyncClient(key, base_url=f"http://127.0.0.1:{up.port}") as client:
        sends = await asyncio.gather(
            *(
                client.send(to="async", connector="sandbox", message=str(number))
                for number in range(10)
            )
        )
        listed = [message.id async for message in client.messages(recipient="async")]
    assert set(listed) == {sent.message_id for sent in sends}


@contextmanager
def _server(answers: list[tuple[int, dict[str, str]]], seen: list[str | None]) -> Iterator[str]:
    """Answer requests with these statuses and headers in turn, then always with the last.

    `seen` gets the Idempotency-Key of each request.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.headers["Idempotency-Key"])
            status, headers = answers.pop(0) if len(answers) > 1 else answers[0]
            body = b'{"messageId": "msg_1", "status": "queued", "error": "no", "code": "NO"}'
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_failing_server_is_asked_again_under_one_key() -> None:
    seen: list[str | None] = []
    with (
        _server([(503, {}), (500, {}), (202, {})], seen) as url,
        Client("sk_test_x", base_url=url) as client,
    ):
        assert client.send(to="a", message="x").message_id == "msg_1"
    assert len(seen) == 3
    assert seen[0]
    assert len(set(seen)) == 1


def test_a_full_limit_is_waited_for_and_then_reported() -> None:
    seen: list[str | None] = []
    with (
        _server([(429, {"Retry-After": "0"})], seen) as url,
        Client("sk_test_x", base_url=url, retries=2) as client,
        pytest.raises(RateLimited) as limited,
    ):
        client.send(to="a", message="x")
    assert len(seen) == 3
    assert limited.value.retry_after_s == 0


def test_a_refused_request_is_not_repeated() -> None:
    seen: list[str | None] = []
    with (
        _server([(400, {})], seen) as url,
        Client("sk_test_x", base_url=url) as client,
        pytest.raises(InvalidRequest),
    ):
        client.send(to="a", message="x")
    assert len(seen) == 1


def test_a_server_that_is_away_is_named() -> None:
    url = f"http://127.0.0.1:{refused_port()}"
    with (
        Client("sk_test_x", base_url=url, retries=1) as client,
        pytest.raises(ConnectionFailed, match="2 tries"),
    ):
        client.send(to="a", message="x")


def test_the_readmes_example_runs(up: Up, tenant: Tenant) -> None:
    """Every Python block of the README, with only the address changed."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        script = block.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{up.port}")
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "MESSAGEJS_KEY": tenant.key, "TEMPLATE_ID": tenant.template_id},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if "create_send_token" in block:
            assert _send_from_page(up, tenant, done.stdout.strip()).status_code == 202
            continue
        assert done.stdout.startswith("msg_")
        assert "TEMPLATE_NOT_FOUND" in done.stdout
