"""How many reads and exports one caller may run at once, in a process: they share few database
connections with everyone else's.

Sends are not affected: they use another pool.
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
_READS_PER_CALLER: Final = 12
_WAIT_S: Final = 2.0
_EXPORT_RETRY: Final = {"Retry-After": "5"}


class ExportSlots:
    """The exports that are running."""

    def __init__(self) -> None:
        self._running: Counter[UUID] = Counter()

    def take(self, project_id: UUID) -> None:
        """Raises RateLimitExceeded."""
        if self._running[project_id] >= EXPORTS_PER_PROJECT:
            message = f"The project has {EXPORTS_PER_PROJECT} exports running, the limit"
        elif self._running.total() >= EXPORTS:
            message = f"The server has {EXPORTS} exports running, the limit"
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


class _CallerReads:
    """One caller's reads: how many run, and those that wait for their turn."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class ReadSlots:
    """Reads that hold a database connection: a few at a time for each caller, first come, first
    served.
    """

    def __init__(self, connections: int, *, wait_s: float = _WAIT_S) -> None:
        """`connections`: how many such reads there may be in all; one caller gets at most half."""
        self._limit = max(1, min(_READS_PER_CALLER, connections // 2))
        self._wait_s = wait_s
        self._callers: dict[Hashable, _CallerReads] = {}

    @asynccontextmanager
    async def slot(self, caller: Hashable) -> AsyncIterator[None]:
        """Hold one of the caller's slots.

        Raises RateLimitExceeded when none becomes free in time.
        """
        reads = self._callers.setdefault(caller, _CallerReads())
        if reads.running < self._limit:
            reads.running += 1
        else:
            await self._wait(caller, reads)
        try:
            yield
        finally:
            self._give_back(caller, reads)

    async def _wait(self, caller: Hashable, reads: _CallerReads) -> None:
        turn = asyncio.get_running_loop().create_future()
        reads.waiting.append(turn)
        try:
            await asyncio.wait({turn}, timeout=self._wait_s)
        except asyncio.CancelledError:
            if turn.done():
                self._give_back(caller, reads)
            else:
                reads.waiting.remove(turn)
            raise
        if not turn.done():
            reads.waiting.remove(turn)
            raise RateLimitExceeded(
                f"You have {self._limit} reads in progress, the limit; wait for their answers, and"
                " try again.",
                headers={"Retry-After": "1"},
            )

    def _give_back(self, caller: Hashable, reads: _CallerReads) -> None:
        if reads.waiting:
            reads.waiting.popleft().set_result(None)  # it takes the slot over
            return
        reads.running -= 1
        if not reads.running:
            del self._callers[caller]
