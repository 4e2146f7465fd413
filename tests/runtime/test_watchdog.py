"""A process that hangs is ended, wherever it hangs; one that lives, starts or slept is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, Pipe

import pytest

from backend.runtime.watchdog import Watchdog

SILENCE_S = 2.5
LOOK_S = 0.25
_BEATS: str = """
import os, re, signal, sys, time
from multiprocessing.connection import Connection
from backend.runtime.watchdog import Pulse
pulse = Pulse(Connection(int(sys.argv[1]), readable=False))
pulse.prepare()
def live(seconds):
    for _ in range(seconds * 10):
        pulse.beat()
        time.sleep(0.1)
"""


class Watched:
    """A process of a few lines that may beat, and its watcher."""

    def __init__(self) -> None:
        reading, self._writing = Pipe(duplex=False)
        self.watch = Watchdog(reading, SILENCE_S, round_s=LOOK_S)
        self._reading = reading
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, code: str) -> subprocess.Popen[bytes]:
        descriptor = self._writing.fileno()
        argv = [sys.executable, "-c", _BEATS + code, str(descriptor)]
        self.process = subprocess.Popen(
            argv,
            pass_fds=(descriptor,),
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=dict(os.environ),
        )
        return self.process

    def look_for(self, seconds: float) -> None:
        """Run as many rounds as a watcher does in that time, or until the process has ended."""
        assert self.process is not None
        for _ in range(int(seconds / LOOK_S)):
            self.watch.run_round()
            if self.process.poll() is not None:
                return

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stderr is not None
            self.process.stderr.close()
        ends: tuple[Connection, ...] = (self._reading, self._writing)
        for end in ends:
            end.close()


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.close()


def test_a_loop_that_holds_the_interpreter_is_ended_and_says_where(watched: Watched) -> None:
    process = watched.start(
        "def deep_in_c(): re.match('(a+)+$', 'a' * 50 + 'b')\nlive(1); deep_in_c()"
    )
    watched.look_for(60)
    assert process.poll() == -signal.SIGKILL
    assert process.stderr is not None
    assert b"in deep_in_c" in process.stderr.read()


def test_a_process_that_was_stopped_is_ended(watched: Watched) -> None:
    process = watched.start("live(1); os.kill(os.getpid(), signal.SIGSTOP)")
    watched.look_for(60)
    assert process.poll() == -signal.SIGKILL


def test_a_process_that_beats_lives(watched: Watched) -> None:
    process = watched.start("live(30)")
    watched.look_for(1.5 * SILENCE_S)
    assert process.poll() is None


def test_a_start_may_take_any_time(watched: Watched) -> None:
    process = watched.start("time.sleep(60)")
    watched.look_for(1.5 * SILENCE_S)
    assert process.poll() is None


def test_no_process_is_ended_because_the_machine_slept(watched: Watched) -> None:
    """All stop and continue together: while the watcher did not count, no process was silent."""
    process = watched.start("live(30)")
    watched.look_for(2)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.5 * SILENCE_S)
    process.send_signal(signal.SIGCONT)
    watched.look_for(2)
    assert process.poll() is None


def test_a_process_that_ended_by_itself_is_forgotten(watched: Watched) -> None:
    process = watched.start("live(1)")
    assert process.wait(20) == 0
    for _ in range(int(1.5 * SILENCE_S / LOOK_S)):
        assert watched.watch.run_round()
