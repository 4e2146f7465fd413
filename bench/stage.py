"""What every benchmark needs: servers, processes of the product, a project with keys."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psutil

from backend import ids
from backend.crypto import keyed_hash, random_token
from backend.ids import new_id
from backend.models import ApiKey, Connector, Project, ProjectMember, Template, User
from backend.models.migrate import upgrade
from backend.platform import Platform
from backend.runtime.embedded import EmbeddedServers
from backend.services.connectors.connectors import NewConnector, create_connector
from backend.settings import Settings, get_settings


@dataclass(frozen=True)
class Tenant:
    project_id: UUID
    connector_id: UUID
    template_id: UUID
    keys: list[str]

    @property
    def body(self) -> str:
        """A send whose text carries its serial number (bench/load.py fills in the ten @)."""
        return orjson.dumps(
            {
                "to": "42",
                "connectorId": ids.encode(ids.CONNECTOR, self.connector_id),
                "templateId": ids.encode(ids.TEMPLATE, self.template_id),
                "variables": {"code": "@@@@@@@@@@"},
            }
        ).decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def servers() -> Iterator[None]:
    """Export DATABASE_URL and REDIS_URL of embedded servers, durable as in production.

    If both are set already, use those servers.
    """
    if "DATABASE_URL" in os.environ and "REDIS_URL" in os.environ:
        _export_secrets()
        upgrade(os.environ["DATABASE_URL"])
        yield
        return
    path = Path(tempfile.mkdtemp(prefix="mjs-bench-"))
    path.chmod(0o711)
    embedded = EmbeddedServers(path)
    embedded.start()
    try:
        os.environ["DATABASE_URL"], os.environ["REDIS_URL"] = (
            embedded.database_url,
            embedded.redis_url,
        )
        _export_secrets()
        upgrade(embedded.database_url)
        yield
    finally:
        embedded.stop()
        shutil.rmtree(path, ignore_errors=True)


def _export_secrets() -> None:
    for name in ("JWT_SECRET", "ENCRYPTION_KEY", "KEY_PEPPER"):
        os.environ.setdefault(name, secrets.token_hex(32))
    os.environ.setdefault("LOG_LEVEL", "warning")
    get_settings.cache_clear()


@contextmanager
def process(*command: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process while the block runs; SIGTERM ends it."""
    child = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5)


def wait_for_port(port: int, *, path: str | None = None, timeout_s: float = 30.0) -> None:
    ends_at = time.monotonic() + timeout_s
    while time.monotonic() < ends_at:
        try:
            if path is None:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing answered on port {port} within {timeout_s} s")


@contextmanager
def fake_provider(latency_ms: float) -> Iterator[int]:
    port = free_port()
    with process(sys.executable, "-m", "bench.fake_provider", str(port), str(latency_ms)):
        wait_for_port(port)
        yield port


@contextmanager
def web(*, workers: int = 1) -> Iterator[int]:
    port = free_port()
    with process(
        sys.executable,
        "-m",
        "backend.runtime.cli",
        "web",
        "--no-dashboard",
        "--port",
        str(port),
        WEB_WORKERS=str(workers),
    ):
        wait_for_port(port, path="/readyz")
        yield port


@contextmanager
def worker(provider_port: int) -> Iterator[psutil.Process]:
    """Run a worker whose Telegram is the fake provider."""
    environment = {"TELEGRAM_API_URL": f"http://127.0.0.1:{provider_port}/bot"}
    with process(sys.executable, "-m", "backend.runtime.cli", "worker", **environment) as child:
        yield psutil.Process(child.pid)


def memory_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


@contextmanager
def bare() -> Iterator[int]:
    port = free_port()
    command = (
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--factory",
        "--port",
        str(port),
    )
    with process(
        *command, "--backlog", "2048", "--backpressure", "8192", "--no-ws", "bench.bare:create_app"
    ):
        wait_for_port(port)
        yield port


def load(port: int, path: str, body: str, keys: Sequence[str], *options: str) -> dict[str, Any]:
    """Run bench/load.py and return its report."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", str(port), path, body, *options],
        input="\n".join(keys).encode(),
        capture_output=True,
        check=False,
        timeout=300,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode()[-2000:])
    report: dict[str, Any] = orjson.loads(done.stdout)
    if not report["latencies_s"]:
        raise RuntimeError(f"no request was accepted: {report['errors']}")
    return report


def arrivals(port: int) -> list[tuple[float, str]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/arrivals", timeout=30) as answer:
        rows: list[tuple[float, str]] = orjson.loads(answer.read())
        return rows


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie; 0 if there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def make_tenant(
    platform: Platform, *, keys: int = 1, rate_limit: int | None = 1_000_000_000
) -> Tenant:
    """Make a project with an unpaced Telegram connector, a template and `keys` keys."""
    pepper = platform.settings.require_key_pepper()
    texts = [f"sk_live_{random_token()}" for _ in range(keys)]
    async with platform.database.transaction() as session:
        user = User(email=f"{new_id()}@example.com", password_hash="x")
        session.add(user)
        await session.flush()
        project = Project(user_id=user.id, name="Bench")
        session.add(project)
        await session.flush()
        session.add(ProjectMember(project_id=project.id, user_id=user.id))
        template = Template(
            project_id=project.id,
            name="otp",
            connector_type="telegram",
            content="Code {{code}}",
            variables=["code"],
        )
        session.add(template)
        for text in texts:
            session.add(
                ApiKey(
                    project_id=project.id,
                    name="bench",
                    key_hash=keyed_hash(pepper, text),
                    hint=text[:12],
                    scopes=["messages:send"],
                    rate_limit=rate_limit,
                )
            )
        connector: Connector = await create_connector(
            session,
            vault=platform.vault,
            project_id=project.id,
            new=NewConnector(
                type="telegram",
                name="Bench",
                credentials={"botToken": "123456:bench-token-0123456789abcdefghijklmn"},
                config={"pacing": {"perSecond": None, "perRecipientPerSecond": None}},
            ),
        )
    return Tenant(project.id, connector.id, template.id, texts)


def seed(*, keys: int = 1, rate_limit: int | None = 1_000_000_000) -> Tenant:
    async def run() -> Tenant:
        platform = await Platform.open(Settings())
        try:
            return await make_tenant(platform, keys=keys, rate_limit=rate_limit)
        finally:
            await platform.close()

    return asyncio.run(run())
