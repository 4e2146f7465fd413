"""`messagejs doctor` and each start name what would make a process fail, in the same words."""

from __future__ import annotations

import http.server
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from backend.models.migrate import upgrade
from backend.runtime.doctor import examine
from backend.runtime.embedded import EmbeddedServers
from backend.runtime.environment import Environment, variable
from backend.runtime.errors import CannotStart
from backend.runtime.preflight import Part, require_fit
from backend.settings import Settings, get_settings
from tests.runtime.conftest import clean_environment, free_port, messagejs

_SECRETS = {"JWT_SECRET": "j" * 32, "ENCRYPTION_KEY": "ab" * 32, "KEY_PEPPER": "p" * 32}


@pytest.fixture(scope="module")
def good(servers: EmbeddedServers, make_database: Callable[[], str]) -> dict[str, str]:
    """Variables that everything starts with: a database written with these secrets, a free port."""
    url = make_database()
    upgrade(url)
    return {
        "DATABASE_URL": url,
        "REDIS_URL": servers.redis_url,
        "PORT": str(free_port()),
        **_SECRETS,
    }


@pytest.fixture
def start(
    good: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Return a function that does what a start does first, and returns its message; empty: it may
    start.
    """
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)

    def set_variables(**changes: str) -> None:
        for field_name in Settings.model_fields:
            os.environ.pop(variable(field_name), None)
        os.environ.update({name: value for name, value in (good | changes).items() if value})
        get_settings.cache_clear()

    def start(part: Part = "web", **changes: str) -> str:
        set_variables(**changes)
        try:
            require_fit(Environment().settings(), part, lambda _: None)
        except CannotStart as exc:
            return str(exc)
        return ""

    start()  # the first process: its secrets are the database's
    yield start
    os.environ.clear()
    os.environ.update(before)
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("REDIS_URL", "", "REDIS_URL is not set"),
        ("KEY_PEPPER", "", "KEY_PEPPER=$(openssl rand -hex 32)"),
        ("JWT_SECRET", "", "JWT_SECRET=$(openssl rand -hex 32)"),
        ("ENCRYPTION_KEY", "", "ENCRYPTION_KEY=$(openssl rand -hex 32)"),
        (
            "ENCRYPTION_KEY",
            "cd" * 32,
            "ENCRYPTION_KEY is not the one that this database's connectors are encrypted with",
        ),
        (
            "KEY_PEPPER",
            "q" * 32,
            "KEY_PEPPER is not the one that this database's API keys are hashed with",
        ),
        (
            "ENCRYPTION_KEY_PREVIOUS",
            "abc",
            "ENCRYPTION_KEY_PREVIOUS: needs old values of ENCRYPTION_KEY",
        ),
        ("SENTRY_DSN", "junk", "SENTRY_DSN: must be the DSN that Sentry shows"),
        ("API_BASE_URL", "host", "API_BASE_URL=host: must be a URL with its scheme"),
        ("REDIS_URL", "host:6379", "REDIS_URL: must start with redis://"),
        ("REDIS_URL", "redis://host/abc", "REDIS_URL: names a database that is not a number"),
        ("DATABASE_URL", "postgresql://mj:p@ss:w/o#r@host/db", "DATABASE_URL: cannot be read"),
        (
            "DATABASE_URL",
            "postgresql://mj@host/db?surprise=1",
            "DATABASE_URL cannot be read by Postgres's client",
        ),
    ],
)
def test_the_doctor_names_what_keeps_a_process_from_starting(
    start: Callable[..., str], capsys: pytest.CaptureFixture[str], name: str, value: str, text: str
) -> None:
    assert text in start(**{name: value})
    assert not examine(Environment())
    report = " ".join(capsys.readouterr().out.split())
    assert " ".join(text.split()) in report


def test_a_worker_needs_no_jwt_secret(start: Callable[..., str]) -> None:
    assert start("worker", JWT_SECRET="") == ""
    assert "KEY_PEPPER" in start("worker", JWT_SECRET="", KEY_PEPPER="")


def test_a_rotated_key_starts_and_the_doctor_agrees(
    start: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(ENCRYPTION_KEY="cd" * 32, ENCRYPTION_KEY_PREVIOUS=_SECRETS["ENCRYPTION_KEY"]) == ""
    assert examine(Environment()), capsys.readouterr().out
    assert start(ENCRYPTION_KEY_PREVIOUS="cd" * 32) == ""  # and back


def test_a_database_that_is_down_stops_no_start_and_is_wrong_for_the_doctor(
    start: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(DATABASE_URL="postgresql://x@127.0.0.1:1/y") == ""
    assert not examine(Environment())
    assert "not reachable" in capsys.readouterr().out


def test_a_schema_that_is_too_new_stops_every_start(
    start: Callable[..., str], make_database: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = make_database()
    upgrade(url)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert start(DATABASE_URL=url) == ""
    assert examine(Environment()), capsys.readouterr().out
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE schema_compat SET oldest_code = '9998'")
    for part in ("web", "worker"):
        assert "Start the newer MessageJS version" in start(part, DATABASE_URL=url)
    assert not examine(Environment())


def test_the_doctor_finds_what_is_wrong_with_servers_that_answer(
    start: Callable[..., str], make_database: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = make_database()
    upgrade(url)
    name = urlsplit(url).path.strip("/")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    start(DATABASE_URL=url)
    assert not examine(Environment())
    assert "Postgres is read-only" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["web", "worker"])
def test_a_process_with_another_key_ends_at_once_and_says_so(
    good: dict[str, str], start: Callable[..., str], tmp_path: Path, command: str
) -> None:
    done = messagejs(command, cwd=tmp_path, env=good | {"ENCRYPTION_KEY": "cd" * 32})
    assert done.returncode == 2
    assert "ENCRYPTION_KEY is not the one" in done.stderr
    assert "ENCRYPTION_KEY_PREVIOUS" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_migrating_a_database_of_a_newer_version_says_what_it_is(
    good: dict[str, str], make_database: Callable[[], str], tmp_path: Path
) -> None:
    environment = good | {"DATABASE_URL": make_database()}
    upgrade(environment["DATABASE_URL"])
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    done = messagejs("migrate", cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "A newer version has migrated the database" in done.stdout
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        connection.execute("UPDATE schema_compat SET oldest_code = '9998'")
    done = messagejs("migrate", cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert "The database is newer than this version" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


class Running:
    """A `messagejs` command that keeps running."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self._log_path = folder / f"{command}.log"
        argv = [sys.executable, "-P", "-m", "backend.runtime.cli", *command.split()]
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                argv, cwd=folder, env=clean_environment() | environment, stdout=log, stderr=log
            )

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str, dict[str, str]], Running]]:
    started: list[Running] = []

    def run(command: str, environment: dict[str, str]) -> Running:
        started.append(Running(command, tmp_path, environment))
        return started[-1]

    yield run
    for command in started:
        command.stop()


@contextmanager
def socket_server() -> Iterator[int]:
    """Something that listens and isn't MessageJS."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _is_ready(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=3) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_the_doctor_passes_on_a_host_where_the_product_runs(
    good: dict[str, str], run: Callable[[str, dict[str, str]], Running], tmp_path: Path
) -> None:
    web = run("web --no-dashboard", good)
    worker = run("worker", good)
    web.until(lambda: _is_ready(good["PORT"]))
    worker.until(lambda: "worker.started" in worker.log())
    deadline = time.monotonic() + 30
    while True:
        done = messagejs("doctor", cwd=tmp_path, env=good)
        if " 1 worker processes run" in done.stdout or time.monotonic() > deadline:
            break
    assert done.returncode == 0, done.stdout
    assert "!!" not in done.stdout
    assert f"'messagejs web' runs at 127.0.0.1:{good['PORT']} and is ready" in done.stdout
    assert "1 web and 1 worker processes run" in done.stdout


def test_the_doctor_does_not_mistake_another_server_for_ours(
    good: dict[str, str], tmp_path: Path
) -> None:
    with socket_server() as port:
        done = messagejs("doctor", cwd=tmp_path, env=good | {"PORT": str(port)})
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be used" in done.stdout


def test_a_worker_waits_for_its_database(
    good: dict[str, str], run: Callable[[str, dict[str, str]], Running]
) -> None:
    """It could not even compare its keys, and dying again and again would not help."""
    url = good["DATABASE_URL"]
    [sockets] = parse_qs(urlsplit(url).query)["host"]
    place = Path(tempfile.mkdtemp(prefix="mjs-")) / "s"
    worker = run("worker", good | {"DATABASE_URL": re.sub(r"host=[^&]+", f"host={place}", url)})
    worker.until(lambda: "start.problem" in worker.log())
    assert "worker.started" not in worker.log()
    place.symlink_to(sockets)
    worker.until(lambda: "worker.started" in worker.log())
    place.unlink()
    place.parent.rmdir()
