"""A process that hangs is ended by another one, so that anyone who runs it starts it again.

Anyone who is watched writes its number into a pipe once a second from its event loop; a loop that
hangs, in Python or in C with the interpreter's lock held, or a process that was stopped, writes
nothing. The watcher counts its own seconds, so that a machine that slept or is slow counts none
against anybody. Watching begins with the first beat: a start takes as long as it takes.
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
        """Once in the process that will be watched: on the way out it says where it hung."""
        os.set_blocking(self._connection.fileno(), False)
        faulthandler.register(_DUMP_SIGNAL, all_threads=True)

    def beat(self) -> None:
        """Say that this process lives; never waits, and a watcher that is gone is no failure."""
        with contextlib.suppress(OSError):
            os.write(self._connection.fileno(), _NUMBER.pack(os.getpid()))

    async def keep_beating(self) -> None:
        while True:
            self.beat()
            await asyncio.sleep(BEAT_EVERY_S)


class Watch:
    """The reading end: ends each process that has beaten and then not for `silence_s`."""

    def __init__(
        self, connection: Connection, silence_s: float, *, look_s: float = BEAT_EVERY_S
    ) -> None:
        self._connection = connection
        self._silence_s = silence_s
        self._look_s = look_s
        self._seen: dict[int, tuple[Identity, float]] = {}  # pid: (who that is, seconds of silence)

    def look(self) -> bool:
        """Listen for `look_s` and judge; False when nobody is left who could write."""
        began = time.monotonic()
        heard: set[int] = set()
        while (left_s := began + self._look_s - time.monotonic()) > 0:
            ready, _, _ = select.select([self._connection], [], [], left_s)
            if not ready:
                break
            chunk = os.read(self._connection.fileno(), _READ_BYTES)
            if not chunk:
                return False
            heard.update(
                pid
                for (pid,) in _NUMBER.iter_unpack(
                    chunk[: len(chunk) // _NUMBER.size * _NUMBER.size]
                )
            )
        self._count(heard)
        return True

    def _count(self, heard: set[int]) -> None:
        for pid in heard:
            identity = self._seen[pid][0] if pid in self._seen else Identity.of(pid)
            self._seen[pid] = (identity, 0.0)
        for pid in self._seen.keys() - heard:
            identity, silent_s = self._seen[pid]
            if not identity.is_alive():
                del self._seen[pid]
            elif silent_s + self._look_s >= self._silence_s:
                del self._seen[pid]
                _end(identity, self._silence_s)
            else:
                self._seen[pid] = (identity, silent_s + self._look_s)


def _end(hung: Identity, silence_s: float) -> None:
    log.error(
        "watchdog.ended", pid=hung.pid, reason=f"its event loop did not answer for {silence_s:g} s"
    )
    hung.send_signal(_DUMP_SIGNAL)
    time.sleep(_DUMP_PATIENCE_S)
    hung.kill()


def watch_children(silence_s: float) -> Pulse:
    """Watch this process's children from a thread; give them the pulse."""
    reading, writing = Pipe(duplex=False)
    watch = Watch(reading, silence_s)

    def run() -> None:
        while True:
            try:
                watch.look()
            except Exception:  # a watchdog that ends is worse than one that missed a round
                log.exception("watchdog.failed")
                time.sleep(BEAT_EVERY_S)

    threading.Thread(target=run, name="watchdog", daemon=True).start()
    return Pulse(writing)


def watched(silence_s: float) -> Callable[[], None]:
    """Have a process of its own watch this one, which begins its threads later; returns what to
    call each second.

    It takes 20 MB, what a fork before the large imports costs, and ends with this process. 0:
    nobody watches.
    """
    if not silence_s:
        return lambda: None
    reading, writing = Pipe(duplex=False)
    this = os.getpid()
    if (watcher := os.fork()) == 0:
        writing.close()
        _watch_parent(Watch(reading, silence_s), lambda: os.getppid() == this)
    reading.close()
    atexit.register(_dismiss, this, watcher)
    pulse = Pulse(writing)
    pulse.prepare()
    return pulse.beat


def _dismiss(watched: int, watcher: int) -> None:
    """End the watcher with the process that it watches, and leave nothing to reap behind."""
    if os.getpid() != watched:  # a fork of it ends
        return
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(watcher, signal.SIGKILL)
        os.waitpid(watcher, 0)


def _watch_parent(watch: Watch, is_there: Callable[[], bool]) -> NoReturn:
    try:
        # The watched process's end is ours; Ctrl-C and a supervisor's stop reach it first.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while is_there() and watch.look():
            pass
    except Exception:
        log.exception("watchdog.failed")
    finally:
        if (sentry_sdk := sys.modules.get("sentry_sdk")) is not None:
            sentry_sdk.flush(2)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
