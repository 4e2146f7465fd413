"""Real `messagejs worker` processes on servers of their own, which a test may take away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from backend.models.migrate import upgrade
from backend.platform import Platform
from backend.runtime.embedded import EmbeddedServers, EmbeddedValkey, Layout, NotReady
from backend.settings import Settings
from tests.databases import database_maker
from tests.providers.fakes import FakeTelegram
from tests.world import World


class Valkey:
    """A server that can go away and come back with what it knew."""

    def __init__(self, data_dir: Path) -> None:
        self._server = EmbeddedValkey(Layout(data_dir))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        self._server.prepare()
        command = self._server.command()
        with command.input() as stdin:
            self._process = subprocess.Popen(
                command.argv, stdin=stdin, stdout=subprocess.DEVNULL, **command.popen_options()
            )
        deadline = time.monotonic() + 10
        while True:
            try:
                return self._server.probe()
            except NotReady:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def kill(self) -> None:
        """Like a power cut."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(5)


class Worker:
    """One `messagejs worker`."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._log_path = folder / "worker.log"
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "backend.runtime.cli", "worker"],
                cwd=folder, env=environment, stdout=log, stderr=log,
            )  # fmt: skip

    def wait_until_started(self) -> None:
        deadline = time.monotonic() + 20
        while "worker.started" not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM, patience_s: float = 20) -> float:
        """Ask it to end; return the seconds until it had."""
        began = time.monotonic()
        self.process.send_signal(number)
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # PYTHONFAULTHANDLER: say where it hangs
            self.process.wait(5)
            pytest.fail(f"still there {patience_s} s after {number.name}:\n{self.log()}")
        return time.monotonic() - began


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    # A short path for the socket, open for the server's account when the tests run as root.
    path = Path(tempfile.mkdtemp(prefix="mjs-"))
    path.chmod(0o711)
    valkey = Valkey(path)
    valkey.start()
    yield valkey
    valkey.kill()
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def own_settings(
    settings: Settings, servers: EmbeddedServers, valkey: Valkey
) -> Iterator[Settings]:
    """The session's secrets, with a database and a Valkey where no other test leaves messages."""
    with database_maker(servers.database_url) as make:
        database_url = make()
        upgrade(database_url)
        yield settings.model_copy(
            update={"database_url": SecretStr(database_url), "redis_url": SecretStr(valkey.url)}
        )


@pytest_asyncio.fixture
async def world(own_settings: Settings) -> AsyncIterator[World]:
    platform = await Platform.open(own_settings)
    yield await World.make(platform)
    await platform.close()


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as fake:
        yield fake


@pytest.fixture
def start_worker(
    own_settings: Settings, telegram: FakeTelegram, tmp_path: Path
) -> Iterator[Callable[..., Worker]]:
    """Return a function that starts a worker with more variables and waits until it works."""
    workers: list[Worker] = []

    def start(**variables: str) -> Worker:
        environment = {
            **os.environ,
            "DATABASE_URL": own_settings.require_database_url(),
            "REDIS_URL": own_settings.require_redis_url(),
            "TELEGRAM_API_URL": telegram.base_url,
            "PYTHONFAULTHANDLER": "1",
            **variables,
        }
        worker = Worker(environment, Path(tempfile.mkdtemp(prefix="worker-", dir=tmp_path)))
        workers.append(worker)
        worker.wait_until_started()
        return worker

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait(5)
