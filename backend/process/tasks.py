"""Tasks that no caller awaits: kept until they end, or Python would collect them half way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start `work`; what it raises goes to the event loop's handler, so it must not raise."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def cancel(self) -> None:
        for task in self._running:
            task.cancel()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until those running now have ended, for `timeout_s` at most."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=timeout_s)
