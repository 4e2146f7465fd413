"""Group commit: what waits while the last batch is handled is the next batch; no timer.

Alone, an item goes at once; under load, many share one statement. Used by the accept writer, the
outcome recorder and the rate limiter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from backend.errors import ServiceUnavailable

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Hands items in order, in batches, to `handle`, which answers one result or error for each.

    When `handle` itself raises, every item of the batch gets that exception.
    """

    def __init__(
        self,
        handle: Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]],
        *,
        name: str,
        waiting_limit: int,
        batch_size: int = 256,
    ) -> None:
        self._handle = handle
        self._name = name
        self._waiting_limit = waiting_limit
        self._batch_size = batch_size
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def submit(self, item: T) -> asyncio.Future[R]:
        """Queue one item; raises ServiceUnavailable (503, Retry-After) when too many wait."""
        if len(self._waiting) >= self._waiting_limit:
            raise ServiceUnavailable(
                f"{self._waiting_limit} requests wait for the database already; try again in a second."
            )
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)
        return future

    async def drain(self) -> None:
        """Wait until everything submitted so far is handled."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                size = min(self._batch_size, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(size)]
                await self._handle_batch(batch)
        finally:
            self._task = None

    async def _handle_batch(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        results: Sequence[R | BaseException]
        try:
            results = await self._answers([item for item, _ in batch])
        except Exception as exc:  # noqa: BLE001 (each waiting request gets it; the loop must go on)
            results = [exc] * len(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), result in zip(batch, results, strict=True):
            if future.cancelled():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

    async def _answers(self, items: list[T]) -> Sequence[R | BaseException]:
        answers = await self._handle(items)
        if len(answers) != len(items):
            raise RuntimeError(f"{self._name} gave {len(answers)} answers for {len(items)} items.")
        return answers
