"""The embedded servers on their own data directory."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from backend.runtime.children import ChildProcess
from backend.runtime.embedded import EmbeddedServers, EmbeddedValkey, Layout
from backend.runtime.process import processes_in
from tests.runtime.output import Lines


@pytest.fixture
def own_servers(short_dir: Path) -> Iterator[EmbeddedServers]:
    """Running; a test may stop, kill and start them."""
    servers = EmbeddedServers(short_dir / "own", postgres_options=("fsync=off",))
    servers.start()
    yield servers
    servers.stop()


def _write(servers: EmbeddedServers) -> None:
    with psycopg.connect(servers.database_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value text)")
        connection.execute("INSERT INTO kept VALUES ('here')")
    redis.Redis.from_url(servers.redis_url).set("kept", "here")


def _kept_rows(servers: EmbeddedServers) -> int:
    with psycopg.connect(servers.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert row is not None
        count: int = row[0]
        return count


def test_data_survives_a_stop_and_a_start(own_servers: EmbeddedServers) -> None:
    _write(own_servers)
    before = _kept_rows(own_servers)
    own_servers.stop()
    own_servers.start()
    assert _kept_rows(own_servers) == before
    assert redis.Redis.from_url(own_servers.redis_url).get("kept") == b"here"


def test_committed_rows_survive_kill_9(own_servers: EmbeddedServers, short_dir: Path) -> None:
    _write(own_servers)
    before = _kept_rows(own_servers)
    for pid in processes_in(short_dir / "own" / "postgres") + processes_in(
        short_dir / "own" / "valkey"
    ):
        # A backend of a connection that was just closed may be gone by now.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    own_servers.stop()
    own_servers.start()
    assert _kept_rows(own_servers) == before


def test_a_pid_file_with_the_pid_of_another_process_does_not_keep_postgres_from_starting(
    own_servers: EmbeddedServers, short_dir: Path
) -> None:
    own_servers.stop()
    # As after a power cut: the number belongs to a process that lives, and is not Postgres.
    pid_file = short_dir / "own" / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getppid()}\n{short_dir}/own/postgres\n0\n5432\n\n\n  0  0\n")
    own_servers.start()
    _write(own_servers)
    assert _kept_rows(own_servers) > 0


def test_the_database_asks_for_its_password(own_servers: EmbeddedServers) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(own_servers.database_url, password="wrong")


def test_valkey_asks_for_its_password(own_servers: EmbeddedServers) -> None:
    path = own_servers.redis_url.partition("@")[2].partition("?")[0]
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0)).rpush(
            "rq:queue:wake", "anything"
        )
    assert redis.Redis.from_url(own_servers.redis_url).ping()


def test_the_servers_passwords_are_in_no_argument(
    own_servers: EmbeddedServers, short_dir: Path
) -> None:
    passwords = [
        (short_dir / "own" / name).read_text() for name in ("postgres-password", "valkey-password")
    ]
    for server in (own_servers.postgres, own_servers.valkey):
        argv = " ".join(server.command().argv)
        assert not any(password in argv for password in passwords)


@pytest.mark.parametrize(
    "damage", ["appendonly.aof.1.incr.aof", "appendonly.aof.1.base.rdb", "appendonly.aof.manifest"]
)
async def test_a_file_that_valkey_cannot_read_is_put_aside_and_valkey_starts_empty(
    short_dir: Path, damage: str
) -> None:
    """It has bells and counters, and never the only copy of anything."""
    directory = short_dir / f"torn-{damage[-8:]}"
    valkey = EmbeddedValkey(Layout(directory))
    remarks = await _run_valkey(
        valkey, lambda client: client.mset({f"key-{n}": "x" * 100 for n in range(50)})
    )
    assert remarks == []
    torn = directory / "valkey" / "appendonlydir" / damage
    content = bytearray(torn.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = b"\xff" * 20
    torn.write_bytes(content)
    remarks = await _run_valkey(valkey, lambda client: client.set("after", "x"))
    assert "valkey could not read its file" in remarks[0]
    (aside,) = (directory / "valkey").glob("appendonlydir.unreadable-*")
    assert str(aside) in remarks[0]
    assert (aside / damage).read_bytes() == content


async def _run_valkey(valkey: EmbeddedValkey, use: Callable[[redis.Redis], object]) -> list[str]:
    """Run it as the product does, use it, stop it; return the supervisor's remarks."""
    output = Lines()
    child = ChildProcess(valkey, output, lambda: None, silent=True)
    running = asyncio.create_task(child.run())
    ready = asyncio.create_task(child.ready.wait())
    await asyncio.wait([running, ready], timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert ready.done(), running
    await asyncio.to_thread(use, redis.Redis.from_url(valkey.url))
    await child.stop(10)
    await running
    return output.remarks


def test_text_is_utf_8_and_sorted_the_same_everywhere(own_servers: EmbeddedServers) -> None:
    with psycopg.connect(own_servers.database_url) as connection:
        row = connection.execute(
            "SELECT datlocale, pg_encoding_to_char(encoding) FROM pg_database"
        ).fetchone()
    assert row == ("C.UTF-8", "UTF8")


def test_a_long_data_directory_gets_short_socket_paths(short_dir: Path) -> None:
    layout = Layout(short_dir / ("long" * 25))
    # sockaddr_un holds 103 bytes on macOS and 107 on Linux.
    assert len(str(layout.sockets / ".s.PGSQL.5432.lock")) <= 103
    assert Layout(short_dir / ("long" * 25)).sockets == layout.sockets
