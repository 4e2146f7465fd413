"""What a process keeps for as long as it runs: its modules, and the tasks beside its work, which
never just end.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

log = structlog.get_logger()

_ASK_AGAIN_S: Final = 0.2
_GC_THRESHOLDS: Final = (20_000, 20, 50)
_RESTART_BASE_S: Final = 0.2
_RESTART_CAP_S: Final = 10.0
# A task that has run for this long since its restart is healthy again.
_WELL_AFTER_S: Final = 30.0


def collect_nothing() -> None:
    """Until `keep_for_good`: what a start imports and builds isn't garbage, and looking for some
    takes a tenth of the start.
    """
    gc.disable()


def keep_for_good() -> None:
    """Have the garbage collector skip what is there now, and run less often; called when a process
    is set up.

    A full collection would look at every module, model and route again: 50 ms in which nothing else
    runs. And one large answer makes more objects than the 700 after which Python would look at the
    young ones.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks until all have ended.

    Once is not enough: on Python 3.11 `asyncio.wait_for`, which the connection pools use, loses a
    cancellation that comes together with its result, and the task goes on.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_ASK_AGAIN_S)


@dataclass(slots=True)
class TaskState:
    """What is known of a supervised task: how often it failed in all, and in a row without a
    healthy run since.
    """

    name: str
    failures: int = 0
    failures_in_a_row: int = 0
    error: str = ""  # the class of the last exception; its text may name what is private
    failed_at: float = field(default=0.0, repr=False)  # time.monotonic()

    @property
    def is_failing(self) -> bool:
        """Whether it failed so recently that it has not shown yet that it works again."""
        return self.failures > 0 and time.monotonic() - self.failed_at < _WELL_AFTER_S


class BackgroundTasks:
    """Keeps tasks running until `aclose`: one that raises or returns is counted, logged and started
    again.

    The pause between starts doubles from 0.2 s to 10 s while it goes on failing. One task's failure
    touches no other.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._states: dict[str, TaskState] = {}

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run()` under `name`, again and again; raises ValueError when the name is taken."""
        if name in self._tasks:
            raise ValueError(f"A background task named {name!r} runs already.")
        self._states[name] = TaskState(name)
        self._tasks[name] = asyncio.create_task(self._supervise(self._states[name], run), name=name)

    def states(self) -> list[TaskState]:
        """Return what is known of each task, in the order of their start."""
        return list(self._states.values())

    def failing(self) -> list[TaskState]:
        return [state for state in self._states.values() if state.is_failing]

    async def aclose(self) -> None:
        """Cancel all and wait for their end."""
        await end_tasks(self._tasks.values())
        self._tasks.clear()

    async def _supervise(self, state: TaskState, run: Callable[[], Awaitable[None]]) -> None:
        while True:
            began = time.monotonic()
            try:
                await run()
                state.error = "Ended"
                log.error("background.ended", task=state.name)
            except Exception as exc:
                state.error = type(exc).__name__
                log.exception("background.failed", task=state.name, error=state.error)
            now = time.monotonic()
            if now - began >= _WELL_AFTER_S:
                state.failures_in_a_row = 0
            state.failures += 1
            state.failures_in_a_row += 1
            state.failed_at = now
            await asyncio.sleep(
                min(_RESTART_CAP_S, _RESTART_BASE_S * 2 ** min(state.failures_in_a_row - 1, 10))
            )
