"""Embedded servers: Postgres 18 and Valkey 9 from wheels, on Unix sockets, in one data directory.

The caller holds the data directory's lock (`DataDir.lock`): two Postgres on one directory destroy
it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from backend.runtime.account import Account, server_account
from backend.runtime.binaries import SHARED_STATE, postgres_bin_dir, valkey_binary
from backend.runtime.errors import ServerFailed
from backend.runtime.private_files import write_private
from backend.runtime.process import Command, end_leftovers, minimal_env

_NAME: Final = "messagejs"
_UNREADABLE_FILE: Final = re.compile(r"\bAOF\b|append only file|Internal error in RDB")
_NOT_THE_FILE: Final = re.compile(
    "No space left|Permission denied|Read-only|Too many open files|[Uu]nix socket"
)
_SOCKET_PATH_BYTES: Final = 103  # macOS takes 104 with the final zero, Linux 108


class NotReady(Exception):
    """The server does not answer yet."""


class Server(Protocol):
    """What the supervisor needs to know of an embedded server."""

    name: str

    def prepare(self) -> None:
        """Make directories and end what an earlier run left behind; blocking, before every
        start.
        """

    def command(self) -> Command: ...

    def probe(self) -> None:
        """Return when the server answers; raises NotReady; blocking but brief."""

    def check(self) -> None:
        """Return when it, once ready, still answers."""

    def repair(self, last_lines: Iterable[str]) -> str:
        """Put right what kept it from becoming ready, so that a new start does not trip over it.

        Called when it died before it was ready; returns a remark, empty when there was nothing to
        do.
        """


class EmbeddedPostgres:
    """One cluster in `<state>/postgres`; no TCP, scram passwords, UTF-8 with the built-in
    locale.
    """

    name = "postgres"

    def __init__(
        self,
        layout: Layout,
        *,
        max_connections: int = 200,
        options: Sequence[str] = (),
        quiet: bool = True,
    ) -> None:
        self._layout = layout
        self._data = layout.state / "postgres"
        self._max_connections = max_connections
        self._options = tuple(options)
        # LOG lines and the ERRORs of statements that the caller handles are noise for who reads
        # along.
        self._level = "fatal" if quiet else "warning"
        self._bin = postgres_bin_dir(layout.account)

    @property
    def url(self) -> str:
        password = quote(self._layout.postgres_password())
        host = quote(str(self._layout.sockets), safe="")
        return f"postgresql://{_NAME}:{password}@/{_NAME}?host={host}"

    def prepare(self) -> None:
        end_leftovers(self._data, signal.SIGINT)
        self._layout.take_over(self._data)
        self._layout.make_sockets()
        # With nobody working in the directory these are stale, and their pid may be somebody else's
        # by now.
        for stale in (self._data / "postmaster.pid", *self._layout.sockets.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        if not (self._data / "PG_VERSION").exists():
            self._create_cluster()

    def _create_cluster(self) -> None:
        work = self._layout.make_private("postgres.new", empty=True)
        password_file = self._layout.state / "postgres.pw"
        password_file.touch(mode=0o600)
        password_file.write_text(self._layout.postgres_password())
        if self._layout.account is not None:
            self._layout.account.hand_over(password_file)
        try:
            self._run(
                self._bin / "initdb",
                "-D",
                work,
                "-U",
                _NAME,
                f"--pwfile={password_file}",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            )
            self._run(
                self._bin / "postgres",
                "--single",
                "-D",
                work,
                "-c",
                "log_min_messages=fatal",
                "postgres",
                stdin=f"CREATE DATABASE {_NAME};\n",
            )
        finally:
            password_file.unlink(missing_ok=True)
        work.rename(self._data)  # a cluster half made is never taken for a whole one

    def _run(self, *argv: str | Path, stdin: str = "") -> None:
        command = Command(
            argv=tuple(map(str, argv)),
            env=minimal_env(),
            cwd=self._layout.state,
            account=self._layout.account,
        )
        done = subprocess.run(
            command.argv,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            **command.popen_options(),
        )
        if done.returncode != 0:
            raise ServerFailed(
                f"{Path(argv[0]).name} failed: {(done.stderr or done.stdout).strip()}"
            )

    def command(self) -> Command:
        settings = {
            "max_connections": str(self._max_connections),
            "log_min_messages": self._level,
            "log_min_error_statement": "panic",
            "log_line_prefix": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "jit": "off",  # short statements: compiling them costs more than it saves
            "cluster_name": _NAME,
        }
        argv = [
            str(self._bin / "postgres"),
            "-D",
            str(self._data),
            "-k",
            str(self._layout.sockets),
            "-h",
            "",
        ]
        for key, value in settings.items():
            argv += ["-c", f"{key}={value}"]
        for option in self._options:
            argv += ["-c", option]
        return Command(
            argv=tuple(argv),
            env=minimal_env(),
            cwd=self._layout.state,
            account=self._layout.account,
            stop_signal=signal.SIGINT,  # fast shutdown; SIGTERM would wait for every pooled client
            # That wait is selection when the supervisor was killed: the workers, told to stop at
            # the same moment, still have to record what their providers answered.
            orphan_signal=signal.SIGTERM,
        )

    def probe(self) -> None:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError as exc:
            raise NotReady(str(exc)) from exc

    def check(self) -> None:
        """Not asked: a database that is busy must not be ended for it."""

    def repair(self, last_lines: Iterable[str]) -> str:  # noqa: ARG002 (what it lost cannot be made up)
        return ""


class EmbeddedValkey:
    """One server in `<state>/valkey`, with a password: what it holds decides what workers do.

    Its append-only file lets bells and counters survive a restart. Nothing in it is the only copy,
    so one that cannot be read is put aside.
    """

    name = "valkey"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._data = layout.state / "valkey"
        self._socket = layout.sockets / "valkey.sock"
        self._binary = valkey_binary(layout.account)
        self._failed_starts = 0

    @property
    def url(self) -> str:
        password = quote(self._layout.valkey_password())
        return f"unix://:{password}@{quote(str(self._socket))}?db=0"

    def prepare(self) -> None:
        end_leftovers(self._data, signal.SIGTERM)
        self._layout.take_over(self._data)
        self._layout.make_private("valkey")
        self._layout.make_sockets()

    def command(self) -> Command:
        argv = [
            str(self._binary),
            "--port",
            "0",
            "--unixsocket",
            str(self._socket),
            "--unixsocketperm",
            "700",
            "--dir",
            str(self._data),
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
            "--daemonize",
            "no",
            "--loglevel",
            "warning",
            "--logfile",
            "",
            "--set-proc-title",
            "no",
            "-",
        ]
        return Command(
            argv=tuple(argv),
            env=minimal_env(),
            cwd=self._layout.state,
            account=self._layout.account,
            stdin=f"requirepass {self._layout.valkey_password()}\n".encode(),
        )

    def probe(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(self._socket))
                connection.sendall(f"AUTH {self._layout.valkey_password()}\r\nPING\r\n".encode())
                answers = connection.makefile("rb")
                answer = answers.readline(), answers.readline()
        except OSError as exc:
            raise NotReady(str(exc)) from exc
        if answer != (b"+OK\r\n", b"+PONG\r\n"):  # "-LOADING ..." while it reads its file
            raise NotReady(b"".join(answer).decode(errors="replace").strip())
        self._failed_starts = 0

    def check(self) -> None:
        """Not asked: what is busy with a long script must not be ended for it."""

    def repair(self, last_lines: Iterable[str]) -> str:
        self._failed_starts += 1
        files = self._data / "appendonlydir"
        lines = [line.partition("# ")[2] or line for line in last_lines]
        reasons = [line for line in lines if _UNREADABLE_FILE.search(line)]
        # A damage that it crashes on has no words of its own.
        is_unreadable = bool(reasons) or self._failed_starts > 1
        if (
            not files.exists()
            or not is_unreadable
            or any(_NOT_THE_FILE.search(line) for line in lines)
        ):
            return ""
        aside = files.with_name(f"appendonlydir.unreadable-{time.strftime('%Y%m%d-%H%M%S')}")
        files.rename(aside)
        reason = (reasons or lines or ["it said nothing"])[-1]
        return (
            f"valkey could not read its file ({reason}); it is now {aside}, and valkey starts"
            " empty: counters of limits begin again, messages are not touched"
        )


class Layout:
    """Where the servers keep their files, and whom they run as.

    `state` is the data directory itself, or, when we are root and the servers' account cannot reach
    it (a checkout below /root), a directory of its own that `<data dir>/servers` points to.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        link = self.data_dir / "servers"
        self.state = link.resolve() if link.is_symlink() else self.data_dir
        self.account: Account | None = server_account(
            self.state / "postgres", self.data_dir, create=True
        )
        if self.account is not None and self.state == self.data_dir:
            if not self.account.may_traverse(self.data_dir / "postgres"):
                self.data_dir.chmod(0o711)
            if not self.account.may_traverse(self.data_dir / "postgres"):
                self.state = SHARED_STATE / f"servers-{secrets.token_hex(4)}"
                link.symlink_to(self.state)
        self.state.mkdir(parents=True, exist_ok=True, mode=0o711 if self.account else 0o700)
        self.sockets = self._socket_dir()

    def _socket_dir(self) -> Path:
        expected = self.state / "run"
        if len(os.fsencode(expected / ".s.PGSQL.5432.lock")) <= _SOCKET_PATH_BYTES:
            return expected
        digest = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:10]
        return Path(tempfile.gettempdir()) / f"{_NAME}-{digest}"

    def make_private(self, name: str, *, empty: bool = False) -> Path:
        """Make `<state>/<name>` with mode 0700 for the servers' account."""
        path = self.state / name
        if empty:
            shutil.rmtree(path, ignore_errors=True)
        self._make_owned(path)
        return path

    def make_sockets(self) -> None:
        self.take_over(self.sockets)
        self._make_owned(self.sockets)

    def take_over(self, path: Path) -> None:
        """Own what an earlier version made for a shared account."""
        if self.account is not None:
            self.account.take_over(path)

    def _make_owned(self, path: Path) -> None:
        uid = self.account.uid if self.account else os.geteuid()
        try:
            path.mkdir(mode=0o700)
            if self.account is not None:
                self.account.hand_over(path)
        except FileExistsError:
            info = path.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != uid:  # /tmp is everybody's
                raise ServerFailed(
                    f"{path} exists and is not a directory of user id {uid}; remove it."
                ) from None

    def postgres_password(self) -> str:
        return self._password("postgres-password")

    def valkey_password(self) -> str:
        return self._password("valkey-password")

    def _password(self, name: str) -> str:
        path = self.data_dir / name
        try:
            return path.read_text()
        except FileNotFoundError:
            write_private(path, secrets.token_urlsafe(24))
            return path.read_text()


class EmbeddedServers:
    """Both servers, started and stopped together without a supervisor: for tests and one-off
    commands.
    """

    def __init__(self, data_dir: Path, *, postgres_options: Sequence[str] = ()) -> None:
        layout = Layout(data_dir)
        self.postgres = EmbeddedPostgres(layout, options=postgres_options)
        self.valkey = EmbeddedValkey(layout)
        self._log_path = layout.data_dir / "servers.log"
        self._running: list[tuple[Server, subprocess.Popen[bytes]]] = []

    @property
    def database_url(self) -> str:
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        return self.valkey.url

    def start(self) -> None:
        servers: tuple[Server, ...] = (self.postgres, self.valkey)
        with self._log_path.open("ab") as log:
            for server in servers:
                server.prepare()
                command = server.command()
                with command.input() as stdin:
                    process = subprocess.Popen(
                        command.argv, stdin=stdin, stdout=log, stderr=log, **command.popen_options()
                    )
                self._running.append((server, process))
        for server, process in self._running:
            self._wait(server, process)

    def _wait(
        self, server: Server, process: subprocess.Popen[bytes], patience_s: float = 30.0
    ) -> None:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return server.probe()
            except NotReady as exc:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = self._log_path.read_text(errors="replace")[-2000:]
                    self.stop()
                    raise ServerFailed(f"{server.name} did not start: {exc}\n{said}") from exc
            time.sleep(0.03)

    def stop(self) -> None:
        while self._running:
            server, process = self._running.pop()
            process.send_signal(server.command().stop_signal)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
