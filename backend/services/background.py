"""What a process keeps for as long as it runs: its modules, and the tasks beside its work, until their end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from typing import Any, Final

_ASK_AGAIN_S: Final = 0.2
_GC_THRESHOLDS: Final = (20_000, 20, 50)


def collect_nothing() -> None:
    """Until `keep_for_good`: what a start imports and builds is no garbage, and to look for some is a tenth of it."""
    gc.disable()


def keep_for_good() -> None:
    """Have the garbage collector pass over what is there now, and come by less often; called when a process is set up.

    A full collection would look at every module, model and route again: 50 ms in which nothing else runs. And
    one large answer makes more objects than the 700 after which Python would look at the young ones.
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
