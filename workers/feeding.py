"""Campaigns are fed on a thread of their own, beside the loop that delivers: texts may take long to
render.

The thread has an event loop, and a platform with its own few connections: nothing that is bound to
a loop is shared.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

import structlog

from backend.platform import Platform
from backend.process.background import BackgroundTasks
from backend.services.campaigns.feeder import CampaignFeeder
from backend.settings import Settings
from workers.event_loop import new_event_loop

log = structlog.get_logger()

_POOL_SIZE: Final = 4
# A text that is being rendered cannot be interrupted; the process does not wait for it.
_STOPPING_S: Final = 5.0
_LOOK_S: Final = 0.05
# A cancellation can be lost (process/background.py, end_tasks), so it is repeated; not so soon that
# it would cut off the closing of connections.
_CANCEL_AGAIN_S: Final = 1.0


async def feed_campaigns(settings: Settings, supervised: list[BackgroundTasks]) -> None:
    """Feed until canceled, on a platform of this loop's own.

    `supervised`: the process's background tasks.
    """
    size = min(_POOL_SIZE, settings.database_pool_size)
    settings = settings.model_copy(update={"database_pool_size": size})
    platform = await Platform.open(settings, role="worker", reports=False)
    supervised.append(platform.background)
    try:
        await CampaignFeeder(platform.campaigns, ahead=settings.campaign_ahead).run()
    finally:
        supervised.remove(platform.background)
        await platform.close()


async def run_on_thread(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `work()` on a thread with a loop of its own, and end as it ends.

    Canceled, it cancels `work` and waits for its end, but not for long.
    """
    thread = _Thread(name, work)
    try:
        await asyncio.shield(asyncio.wrap_future(thread.outcome))
    finally:
        await thread.end(_STOPPING_S)


class _Thread:
    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.outcome: Future[None] = Future()
        self._name = name
        self._work = work
        self._loop = new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._is_cancelled = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _cancel(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._cancel_task)

    async def end(self, seconds: float) -> None:
        """Cancel until it has ended, also when canceled again and again (end_tasks does so)."""
        loop = asyncio.get_running_loop()
        cancel_at = loop.time()
        ends_at = cancel_at + seconds
        while not self.outcome.done():
            if loop.time() >= ends_at:
                log.warning("thread.left_behind", thread=self._name)
                return
            if loop.time() >= cancel_at:
                self._cancel()
                cancel_at += _CANCEL_AGAIN_S
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(_LOOK_S)

    def _cancel_task(self) -> None:
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        except asyncio.CancelledError:
            self.outcome.cancel()
        except Exception as exc:  # noqa: BLE001 (the awaiting task gets it)
            self.outcome.set_exception(exc)
        except BaseException as exc:  # noqa: BLE001 (a SystemExit must end this thread only)
            self.outcome.set_exception(
                RuntimeError(f"The thread {self._name!r} ended with {type(exc).__name__}.")
            )
        else:
            self.outcome.set_result(None)

    async def _main(self) -> None:
        self._task = asyncio.current_task()
        if not self._is_cancelled:
            await self._work()
