"""One supervised process: started, watched, restarted when it dies, stopped cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from backend.runtime.embedded import NotReady
from backend.runtime.errors import ProcessKeepsDying
from backend.runtime.process import Command, Identity

_GROUP_PATIENCE_S: Final = 3.0
_CHECK_EVERY_S: Final = 5.0
_LONGEST_CHECK_S: Final = 12.0


class Program(Protocol):
    """What can be supervised: the embedded servers, the web server, a worker."""

    @property
    def name(self) -> str: ...

    def prepare(self) -> None:
        """Get ready for a start; blocking."""

    def command(self) -> Command: ...

    def probe(self) -> None:
        """Return when it is ready for work; raises NotReady; blocking but brief."""

    def check(self) -> None:
        """Return when it still answers after it was ready; raises NotReady; blocking but brief."""

    def repair(self, last_lines: Iterable[str]) -> str:
        """Fix what kept it from becoming ready, so that the next start does not fail on it again.

        Called when it died before it was ready. Returns a remark, empty when there was nothing to
        do.
        """


class Output(Protocol):
    """Where the lines of processes and the remarks of the supervisor go."""

    def line(self, name: str, text: str) -> None: ...

    def remark(self, event: str, **fields: object) -> None: ...


@dataclass(frozen=True)
class RestartPolicy:
    """The supervisor gives up after `deaths` lives in a row that were shorter than `instant_s`.

    A process that does not answer has `hung_s` to stop cleanly; Granian gives its processes eight
    seconds.
    """

    instant_s: float = 10.0
    deaths: int = 8
    base_s: float = 0.1
    cap_s: float = 5.0
    hung_s: float = 9.0

    def delay_s(self, deaths: int) -> float:
        return float(min(self.cap_s, self.base_s * 2 ** (deaths - 1)))


_POLICY: Final = RestartPolicy()


class ChildProcess:
    """Keeps one program running until `stop`; `run` raises ProcessKeepsDying when it gives up.

    Of a silent one only the last lines are shown, when it dies. One that was ready and does not
    answer its check for `hang_s` is ended, to be started again; 0: no checks.
    """

    def __init__(
        self,
        program: Program,
        output: Output,
        on_change: Callable[[], None],
        *,
        silent: bool = False,
        policy: RestartPolicy = _POLICY,
        hang_s: float = 0.0,
    ) -> None:
        self.name = program.name
        self._silent = silent
        self._policy = policy
        self._hang_s = hang_s
        self.ready = asyncio.Event()
        self._program = program
        self._output = output
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._was_ready = False  # before it died last
        self._stopping = asyncio.Event()
        self._last_lines: deque[str] = deque(maxlen=25)

    @property
    def identity(self) -> Identity | None:
        if self._process is None or self._process.returncode is not None:
            return None
        return Identity.of(self._process.pid)

    async def run(self) -> None:
        deaths = 0
        while not self._stopping.is_set():
            await asyncio.to_thread(self._program.prepare)
            if self._stopping.is_set():
                return
            lived_s, code = await self._run_once()
            if self._stopping.is_set():
                return
            if not self._was_ready and (
                remark := await asyncio.to_thread(self._program.repair, self._last_lines)
            ):
                self._output.remark(remark)
            deaths = deaths + 1 if lived_s < self._policy.instant_s else 1
            if deaths >= self._policy.deaths:
                raise ProcessKeepsDying(self._report(code))
            delay_s = self._policy.delay_s(deaths)
            self._output.remark(
                f"{self.name} died, starting it again", cause=_cause(code), in_s=round(delay_s, 1)
            )
            if self._silent:
                for line in list(self._last_lines)[-5:]:
                    self._output.line(self.name, line)
            await self._sleep(delay_s)

    async def run_to_end(self) -> int:
        """Run once a program that ends by itself; returns its exit code."""
        await asyncio.to_thread(self._program.prepare)
        _, code = await self._run_once()
        return code

    async def _run_once(self) -> tuple[float, int]:
        command = self._program.command()
        self._last_lines.clear()
        started = time.monotonic()
        # Not asyncio's pipe: with that one `wait` lasts until grandchildren have closed it too.
        reading, writing = os.pipe()
        try:
            with command.input() as stdin:
                self._process = await asyncio.create_subprocess_exec(
                    *command.argv,
                    stdin=stdin,
                    stdout=writing,
                    stderr=writing,
                    **command.popen_options(),
                )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._on_change()
        readiness = asyncio.create_task(self._follow(self._process))
        pump = asyncio.create_task(self._pump(reading))
        try:
            code = await self._process.wait()
        finally:
            readiness.cancel()
            self._was_ready = self.ready.is_set()
            self.ready.clear()
        await self._end_group(self._process.pid, pump)
        self._on_change()
        return time.monotonic() - started, code

    async def _end_group(self, group: int, pump: asyncio.Task[None]) -> None:
        """Wait, not forever, for the rest of a dead process's group: it holds the output open."""
        _, unfinished = await asyncio.wait([pump], timeout=_GROUP_PATIENCE_S)
        if unfinished:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
            await asyncio.wait([pump], timeout=1.0)
            pump.cancel()

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        await self._await_ready()
        if self._hang_s:
            await self._await_hang()
            self._output.remark(
                f"{self.name} does not answer, ending it", silent_s=round(self._hang_s, 1)
            )
            with suppress(ProcessLookupError):
                process.send_signal(self._program.command().stop_signal)
                await asyncio.sleep(self._policy.hung_s)
                process.kill()

    async def _await_hang(self) -> None:
        """Return when no check has succeeded for `hang_s`.

        Each failure counts at most as long as a check takes: the time that the machine was asleep
        does not count.
        """
        silent_s = 0.0
        while silent_s < self._hang_s:
            began = time.monotonic()
            await asyncio.sleep(min(_CHECK_EVERY_S, self._hang_s / 4))
            try:
                await asyncio.to_thread(self._program.check)
                silent_s = 0.0
            except NotReady:
                silent_s += min(time.monotonic() - began, _LONGEST_CHECK_S)

    async def _await_ready(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._program.probe)
            except NotReady:
                await asyncio.sleep(0.05)
            else:
                self.ready.set()
                return

    async def _pump(self, descriptor: int) -> None:
        reader = asyncio.StreamReader()
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        rest = b""
        try:
            while chunk := await reader.read(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take_line(line)
                if len(rest) > 1_000_000:  # an endless line must not fill the memory
                    self._take_line(rest)
                    rest = b""
        finally:
            transport.close()
        self._take_line(rest)

    def _take_line(self, raw: bytes) -> None:
        text = raw.decode(errors="replace").rstrip()
        if text:
            self._last_lines.append(text)
            if not self._silent:
                self._output.line(self.name, text)

    async def _sleep(self, delay_s: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), delay_s)
        except TimeoutError:
            return

    def _report(self, code: int) -> str:
        return (
            f"{self.name} died {self._policy.deaths} times right after its start ({_cause(code)}). "
            f"Its last lines:\n{self.last_lines()}"
        )

    def last_lines(self) -> str:
        return "\n".join(f"  {line}" for line in self._last_lines) or "  (nothing)"

    def why_not_ready(self) -> str:
        """Ask again and return the reason; blocking."""
        try:
            self._program.probe()
        except NotReady as exc:
            return str(exc)
        return "it is ready now"

    def stop_restarting(self) -> None:
        self._stopping.set()

    async def stop(self, patience_s: float) -> None:
        """Ask the process to stop; kill it when `patience_s` is over."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(self._program.command().stop_signal)
        try:
            await asyncio.wait_for(process.wait(), patience_s)
        except TimeoutError:
            self._output.remark(
                f"{self.name} did not stop in time, killing it", after_s=round(patience_s, 1)
            )
            process.kill()
            await process.wait()

    def kill(self) -> None:
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
