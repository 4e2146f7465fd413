"""What one caller may have under way at once, in a process: its reads share few database
connections with everybody's.

Sends have nothing to do with it: they take another pool.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from backend.errors import RateLimitExceeded

EXPORTS_PER_PROJECT: Final = 2
EXPORTS: Final = 6
_MOST_READS: Final = 12
_WAIT_S: Final = 2.0
_EXPORT_RETRY: Final = {"Retry-After": "5"}


class ExportPlaces:
    """Exports that run."""

    def __init__(self) -> None:
        self._running: Counter[UUID] = Counter()

    def take(self, project_id: UUID) -> None:
        """Raises RateLimitExceeded."""
        if self._running[project_id] >= EXPORTS_PER_PROJECT:
            message = f"The project has {EXPORTS_PER_PROJECT} exports running, the most at a time"
        elif self._running.total() >= EXPORTS:
            message = f"The server has {EXPORTS} exports running, the most at a time"
        else:
            self._running[project_id] += 1
            return
        raise RateLimitExceeded(
            f"{message}; wait until one has ended, and export again.", headers=_EXPORT_RETRY
        )

    def give_back(self, project_id: UUID) -> None:
        self._running[project_id] -= 1
        if not self._running[project_id]:
            del self._running[project_id]


class _Line:
    """One caller's reads."""

    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class ReadPlaces:
    """Reads that hold a database connection: some at a time for each caller, first come, first
    served.
    """

    def __init__(self, connections: int, *, wait_s: float = _WAIT_S) -> None:
        """`connections`: how many such reads there are in all; one caller gets half of them at
        most.
        """
        self._most = max(1, min(_MOST_READS, connections // 2))
        self._wait_s = wait_s
        self._lines: dict[Hashable, _Line] = {}

    @asynccontextmanager
    async def place(self, caller: Hashable) -> AsyncIterator[None]:
        """Hold one of the caller's places.

        Raises RateLimitExceeded when none comes free in time.
        """
        line = self._lines.setdefault(caller, _Line())
        if line.taken < self._most:
            line.taken += 1
        else:
            await self._wait(caller, line)
        try:
            yield
        finally:
            self._give_back(caller, line)

    async def _wait(self, caller: Hashable, line: _Line) -> None:
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            await asyncio.wait({turn}, timeout=self._wait_s)
        except asyncio.CancelledError:
            if turn.done():
                self._give_back(caller, line)
            else:
                line.waiting.remove(turn)
            raise
        if not turn.done():
            line.waiting.remove(turn)
            raise RateLimitExceeded(
                f"You have {self._most} reads under way, the most at a time; wait for their"
                " answers, and ask again.",
                headers={"Retry-After": "1"},
            )

    def _give_back(self, caller: Hashable, line: _Line) -> None:
        if line.waiting:
            line.waiting.popleft().set_result(None)  # it takes the place over
            return
        line.taken -= 1
        if not line.taken:
            del self._lines[caller]
