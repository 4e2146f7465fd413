"""How a child process is described and started: its own session, and never outliving its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backend.runtime.account import Account

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, kw_only=True)
class Command:
    """One program to run; `stop_signal` asks it to end in order.

    `orphan_signal` is what the kernel sends it when its parent was killed; None: the stop signal.
    `stdin` is what it reads there: the place for a secret, as everybody may read its arguments.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: Path
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals | None = None
    stdin: bytes = b""

    @contextmanager
    def input(self) -> Iterator[int]:
        """Yield the descriptor that its stdin is to be, while it is started; `stdin` must fit into
        a pipe.
        """
        reading, writing = os.pipe()
        try:
            os.write(writing, self.stdin)
            os.close(writing)
            yield reading
        finally:
            os.close(reading)

    def popen_options(self) -> dict[str, Any]:
        """Keyword arguments for `subprocess.Popen` and `asyncio.create_subprocess_exec`.

        Start from the main thread: Linux sends the parent-death signal when the starting THREAD
        ends.
        """
        options: dict[str, Any] = {
            "env": self.env,
            "cwd": self.cwd,
            # Ctrl-C must reach the supervisor only; it stops the others in order.
            "start_new_session": True,
            "preexec_fn": _die_with_parent(self.orphan_signal or self.stop_signal),
        }
        if self.account is not None:
            options |= self.account.popen_options()
        return options


def die_with_parent(death_signal: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel send this process `death_signal` when its parent ends; Linux only, elsewhere
    nothing.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    parent_pid = os.getpid()

    def in_child() -> None:
        die_with_parent(death_signal)
        if os.getppid() != parent_pid:  # the parent died before the call above
            os._exit(1)

    return in_child


def minimal_env() -> dict[str, str]:
    """What a server needs of the environment; our secrets stay out of it."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "TZDIR") if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **kept, "LC_ALL": "C"}


def processes_in(directory: Path) -> list[int]:
    """Return the pids whose working directory is `directory` (Linux; elsewhere empty).

    Postgres with all its backends and Valkey work in their data directories, so this finds what a
    killed supervisor left behind, whatever the pid files say.
    """
    target = str(directory.resolve())
    result = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str((entry / "cwd").readlink()) == target:
                result.append(int(entry.name))
        except OSError:
            continue
    return result


def send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def end_leftovers(directory: Path, stop_signal: signal.Signals, *, patience_s: float = 8.0) -> None:
    """Wait until no process works in `directory`: ask after a third of the patience, kill at its
    end.
    """
    deadline = time.monotonic() + patience_s
    asked = False
    while pids := processes_in(directory):
        left_s = deadline - time.monotonic()
        if left_s < 0:
            send(pids, signal.SIGKILL)
        elif left_s < patience_s * 2 / 3 and not asked:
            send(pids, stop_signal)
            asked = True
        time.sleep(0.05)


@dataclass(frozen=True)
class Identity:
    """A process that is recognised later: pids are given out again, start times with them are
    not.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Identity:
        return cls(pid, _start_time(pid))

    def is_alive(self) -> bool:
        return bool(self.started) and _start_time(self.pid) == self.started

    def ask_to_stop(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        if self.is_alive():
            send([self.pid], number)


def _start_time(pid: int) -> str:
    """Return when `pid` started in whatever words the system has for it; empty when it is gone."""
    if sys.platform != "linux":
        argv = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(argv, text=True, capture_output=True, check=False).stdout.strip()
    try:
        # The command in parentheses may hold spaces; the fields after it do not. 22nd: start time.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
