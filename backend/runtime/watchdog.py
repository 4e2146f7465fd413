"""A process that hangs is ended by another one, so that its supervisor starts it again.

A watched process writes its pid into a pipe once a second from its event loop. A loop that hangs,
in Python or in C with the interpreter's lock held, or a process that was stopped, writes nothing.
The watcher counts its own seconds, so that time in which the machine slept or was slow does not
count. Watching begins with the first beat: a start may take any time.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import faulthandler
import os
import select
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import Final, NoReturn

import structlog

from backend.runtime.process import Identity

log = structlog.get_logger()

BEAT_EVERY_S: Final = 1.0
_NUMBER: Final = struct.Struct("<I")
_DUMP_SIGNAL: Final = signal.SIGUSR2
_DUMP_PATIENCE_S: Final = 0.5
_READ_BYTES: Final = 4096


class Pulse:
    """The writing end; survives fork and, as an argument of a process, spawn."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def prepare(self) -> None:
        """Call once in the watched process, so that it prints where it hung when it is ended."""
        os.set_blocking(self._connection.fileno(), False)
        faulthandler.register(_DUMP_SIGNAL, all_threads=True)

    def beat(self) -> None:
        """Report that this process is alive; never waits, and works without a watcher too."""
        with contextlib.suppress(OSError):
            os.write(self._connection.fileno(), _NUMBER.pack(os.getpid()))

    async def keep_beating(self) -> None:
        while True:
            self.beat()
            await asyncio.sleep(BEAT_EVERY_S)


class Watchdog:
    """The reading end: ends each process that has beaten before and then not for `silence_s`."""

    def __init__(
        self, connection: Connection, silence_s: float, *, round_s: float = BEAT_EVERY_S
    ) -> None:
        self._connection = connection
        self._silence_s = silence_s
        self._round_s = round_s
        self._watched: dict[int, tuple[Identity, float]] = {}  # pid: (identity, seconds of silence)

    def run_round(self) -> bool:
        """Listen for `round_s`, then end what hangs; False when no process is left to write."""
        began = time.monotonic()
        beating: set[int] = set()
        while (left_s := began + self._round_s - time.monotonic()) > 0:
            ready, _, _ = select.select([self._connection], [], [], left_s)
            if not ready:
                break
            chunk = os.read(self._connection.fileno(), _READ_BYTES)
            if not chunk:
                return False
            beating.update(
                pid
                for (pid,) in _NUMBER.iter_unpack(
                    chunk[: len(chunk) // _NUMBER.size * _NUMBER.size]
                )
            )
        self._count(beating)
        return True

    def _count(self, beating: set[int]) -> None:
        for pid in beating:
            identity = self._watched[pid][0] if pid in self._watched else Identity.of(pid)
            self._watched[pid] = (identity, 0.0)
        for pid in self._watched.keys() - beating:
            identity, silent_s = self._watched[pid]
            if not identity.is_alive():
                del self._watched[pid]
            elif silent_s + self._round_s >= self._silence_s:
                del self._watched[pid]
                _end(identity, self._silence_s)
            else:
                self._watched[pid] = (identity, silent_s + self._round_s)


def _end(hung: Identity, silence_s: float) -> None:
    log.error(
        "watchdog.ended", pid=hung.pid, reason=f"its event loop did not answer for {silence_s:g} s"
    )
    hung.send_signal(_DUMP_SIGNAL)
    time.sleep(_DUMP_PATIENCE_S)
    hung.kill()


def watch_children(silence_s: float) -> Pulse:
    """Watch this process's children from a thread; pass them the pulse."""
    reading, writing = Pipe(duplex=False)
    watch = Watchdog(reading, silence_s)

    def run() -> None:
        while True:
            try:
                watch.run_round()
            except Exception:  # better to miss a round than to end the watchdog
                log.exception("watchdog.failed")
                time.sleep(BEAT_EVERY_S)

    threading.Thread(target=run, name="watchdog", daemon=True).start()
    return Pulse(writing)


def watched(silence_s: float) -> Callable[[], None]:
    """Have another process watch this one; returns the function to call once a second.

    Call it before any thread is started. The watcher takes 20 MB, as a fork before the large
    imports, and ends with this process. 0: no watcher.
    """
    if not silence_s:
        return lambda: None
    reading, writing = Pipe(duplex=False)
    this = os.getpid()
    if (watcher := os.fork()) == 0:
        writing.close()
        _watch_parent(Watchdog(reading, silence_s), lambda: os.getppid() == this)
    reading.close()
    atexit.register(_dismiss, this, watcher)
    pulse = Pulse(writing)
    pulse.prepare()
    return pulse.beat


def _dismiss(watched: int, watcher: int) -> None:
    """End the watcher together with the process that it watches, and reap it."""
    if os.getpid() != watched:  # a fork of that process ends
        return
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(watcher, signal.SIGKILL)
        os.waitpid(watcher, 0)


def _watch_parent(watch: Watchdog, is_there: Callable[[], bool]) -> NoReturn:
    try:
        # The watcher ends when the watched process does; Ctrl-C and stops are for that one.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while is_there() and watch.run_round():
            pass
    except Exception:
        log.exception("watchdog.failed")
    finally:
        if (sentry_sdk := sys.modules.get("sentry_sdk")) is not None:
            sentry_sdk.flush(2)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
