"""Real `messagejs up` processes, each on its own data directory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from backend.runtime.environment import variable
from backend.settings import Settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """The environment without our settings, which the session's fixtures may have exported."""
    ours = {variable(name) for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name not in ours}


def messagejs(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself; `stdin` is its standard input."""
    argv = [sys.executable, "-P", "-m", "backend.runtime.cli", *arguments]
    environment = clean_environment() | (env or {})
    return subprocess.run(
        argv,
        cwd=cwd,
        env=environment,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
        input=stdin,
    )


class Up:
    """One `messagejs up`; without the dashboard unless it `has_pages`."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        has_pages: bool = False,
        env: dict[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._environment = env or {}
        self.port = free_port()
        self._arguments = arguments if has_pages else ("--no-dashboard", *arguments)
        # The first build of the pages fetches npm packages.
        self._patience_s = 180.0 if has_pages else 60.0
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-P", "-m", "backend.runtime.cli", "up"]
        argv += ["--data-dir", str(self.data_dir), "--port", str(self.port), *self._arguments]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=self.data_dir.parent,
                env={**clean_environment(), "BCRYPT_COST": "4", **self._environment},
                stdout=log,
                stderr=log,
            )

    def until(self, condition: Callable[[], bool], what: str, patience_s: float = 60.0) -> None:
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline or self.running.poll() is not None:
                pytest.fail(f"{what}: not in {patience_s} s. Log:\n{self.log()[-3000:]}")
            time.sleep(0.05)

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/readyz", timeout=3
            ) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def call(
        self, path: str, body: dict[str, Any] | None = None, token: str = ""
    ) -> dict[str, Any]:
        """Return the JSON answer to a GET, or to a POST of `body`."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        method, url = ("GET" if body is None else "POST"), f"http://127.0.0.1:{self.port}{path}"
        answer = httpx.request(method, url, json=body, headers=headers, timeout=30)
        content: dict[str, Any] = answer.raise_for_status().json()
        return content

    def start_and_wait(self) -> float:
        """Return the seconds until /readyz said yes."""
        began = time.monotonic()
        self.start()
        self.until(self.is_ready, "ready", self._patience_s)
        return time.monotonic() - began

    def pid_of(self, name: str) -> int:
        announced: dict[str, Any] = json.loads((self.data_dir / "runtime.json").read_text())
        pid: int = announced["children"].get(name, {"pid": 0})["pid"]
        return pid

    def family(self) -> list[psutil.Process]:
        """Every process under the supervisor, grandchildren included."""
        return psutil.Process(self.running.pid).children(recursive=True)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Return the seconds until the supervisor was gone."""
        began = time.monotonic()
        self.running.send_signal(number)
        self.running.wait(timeout=25)
        return time.monotonic() - began

    def clean_up(self) -> None:
        if self.process is not None and self.process.poll() is None:
            family = self.family()
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
            psutil.wait_procs(family, timeout=5)


@pytest.fixture(scope="module")
def short_dir() -> Iterator[Path]:
    """Short for the sockets, and open for the servers' account when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="mjs-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def up(short_dir: Path) -> Iterator[Up]:
    """A running product, shared by a module: its tests leave it running and ready."""
    product = Up(short_dir / "data")
    product.start_and_wait()
    yield product
    product.clean_up()
