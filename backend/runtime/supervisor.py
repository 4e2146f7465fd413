"""Runs everything with one command: postgres, valkey, migrations, then web server and workers.

They start in that order, each when the previous one is ready, and stop in reverse, within the
workers' grace plus three seconds. A process that dies is started again; one that keeps dying ends
everything.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from backend.runtime.children import ChildProcess, Program
from backend.runtime.datadir import DataDir, Running
from backend.runtime.errors import CannotStart, ServerFailed
from backend.runtime.output import Printer
from backend.runtime.process import Identity
from backend.settings import Settings

_READY_PATIENCE_S: Final = 60.0
_SERVER_STOP_S: Final = 5.0
_WEB_STOP_S: Final = 9.0
_DRAIN_MARGIN_S: Final = 1.0


@dataclass(frozen=True)
class ProcessPlan:
    """What to run: servers first, then the migration, then web and workers.

    `check` raises CannotStart for what keeps our processes from starting; after the migration.
    """

    servers: Sequence[Program]
    migration: Program
    web: Program
    workers: Sequence[Program]
    announced: dict[str, str]
    check: Callable[[], None] = lambda: None


class Supervisor:
    """Holds the data directory's lock (taken by the caller) for as long as it runs."""

    def __init__(
        self, plan: ProcessPlan, settings: Settings, data_dir: DataDir, printer: Printer
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._data_dir = data_dir
        self._printer = printer
        self._children: list[ChildProcess] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._end = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Run until SIGINT, SIGTERM or a failure; raises CannotStart with what failed."""
        self._listen_to_signals()
        starting = asyncio.create_task(self._start(on_ready))
        ending = asyncio.create_task(self._end.wait())
        await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and starting.exception() is not None:
            self._failure = self._failure or starting.exception()
        else:
            await ending
        starting.cancel()
        await self._stop()
        if self._failure is not None:
            raise self._failure

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._end.is_set():
            self._printer.remark("stopping", signal=number.name)
            self._end.set()
        elif number == signal.SIGINT:  # a second Ctrl-C: now
            for child in self._children:
                child.kill()

    async def _start(self, on_ready: Callable[[], None]) -> None:
        for program in self._plan.servers:
            # The servers' output is only of interest for debugging them.
            await self._ready(self._launch(program, silent=self._settings.log_level != "debug"))
        await self._migrate()
        # Twice the watchdog's patience, so that the watchdog acts first.
        web = self._launch(self._plan.web, hang_s=2 * self._settings.watchdog_s)
        for program in self._plan.workers:
            self._launch(program)
        await self._ready(web)
        on_ready()

    def _launch(
        self, program: Program, *, silent: bool = False, hang_s: float = 0.0
    ) -> ChildProcess:
        child = ChildProcess(program, self._printer, self._announce, silent=silent, hang_s=hang_s)
        self._children.append(child)
        watch = asyncio.create_task(self._watch(child), name=child.name)
        self._watches.add(watch)
        return child

    async def _watch(self, child: ChildProcess) -> None:
        try:
            await child.run()
        except Exception as exc:  # noqa: BLE001 (`run` raises it)
            self._failure = self._failure or exc
            self._end.set()

    async def _ready(self, child: ChildProcess) -> None:
        try:
            await asyncio.wait_for(child.ready.wait(), _READY_PATIENCE_S)
        except TimeoutError as exc:
            why = await asyncio.to_thread(child.why_not_ready)
            raise ServerFailed(
                f"{child.name} is not ready after {_READY_PATIENCE_S:g} s: {why}"
            ) from exc

    async def _migrate(self) -> None:
        # It only prints something when it has to wait, or fails.
        child = ChildProcess(self._plan.migration, self._printer, self._announce)
        self._children.append(child)
        code = await child.run_to_end()
        if code != 0:
            raise ServerFailed(f"The migrations failed:\n{child.last_lines()}")
        self._children.remove(child)
        await asyncio.to_thread(self._plan.check)

    def _announce(self) -> None:
        children = {child.name: child.identity for child in self._children}
        self._data_dir.announce(
            Running(
                supervisor=Identity.of(os.getpid()),
                url=self._settings.public_url,
                environment=self._plan.announced,
                children={
                    name: identity for name, identity in children.items() if identity is not None
                },
            )
        )

    async def _stop(self) -> None:
        began = time.monotonic()
        for child in self._children:
            child.stop_restarting()
        servers = {program.name for program in self._plan.servers}
        ours = [child for child in self._children if child.name not in servers]
        drain_s = self._settings.shutdown_grace_s + _DRAIN_MARGIN_S
        stops = [child.stop(_WEB_STOP_S if child.name == "web" else drain_s) for child in ours]
        # A process that cannot be stopped must not keep the others and the servers from stopping
        # cleanly.
        for child, outcome in zip(
            ours, await asyncio.gather(*stops, return_exceptions=True), strict=True
        ):
            if isinstance(outcome, Exception):
                self._printer.remark(
                    f"{child.name} could not be stopped", error=type(outcome).__name__
                )
        for child in reversed([child for child in self._children if child.name in servers]):
            await child.stop(_SERVER_STOP_S)
        if self._watches:
            await asyncio.wait(self._watches, timeout=5)
        self._data_dir.withdraw()
        if self._failure is None:
            self._printer.remark("stopped", after_s=round(time.monotonic() - began, 1))


def run(
    plan: ProcessPlan,
    settings: Settings,
    data_dir: DataDir,
    printer: Printer,
    on_ready: Callable[[], None],
) -> None:
    """Run a plan in the main thread until it is stopped; raises CannotStart."""

    async def main() -> None:
        await Supervisor(plan, settings, data_dir, printer).run(on_ready)

    try:
        asyncio.run(main())
    except CannotStart:
        raise
    except OSError as exc:
        raise CannotStart(f"A process could not be started: {exc}") from exc
    finally:
        sys.stdout.flush()
