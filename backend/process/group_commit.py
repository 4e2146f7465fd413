"""Group commit: what waits while the last batch is handled is the next batch; no timer.

Alone, an item goes at once; under load, many share one statement.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from backend.errors import ServiceUnavailable

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Hands items in order, in batches, to `handle`, which answers one result or error for each.

    When `handle` itself raises, every item of the batch gets that exception. With `owner_of`,
    owners take turns, and no more than `owner_limit` items of one may wait.
    """

    def __init__(
        self,
        handle: Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]],
        *,
        name: str,
        waiting_limit: int,
        batch_size: int = 256,
        owner_of: Callable[[T], Hashable] | None = None,
        owner_limit: int = 0,
    ) -> None:
        self._handle = handle
        self._name = name
        self._waiting_limit = waiting_limit
        self._batch_size = batch_size
        self._owner_of = owner_of
        self._owner_limit = owner_limit if owner_of is not None else waiting_limit
        # What waits, by its owner, and the same in the order of the owners' turns.
        self._lines: dict[Hashable, deque[tuple[T, asyncio.Future[R]]]] = {}
        self._turns: deque[deque[tuple[T, asyncio.Future[R]]]] = deque()
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    def submit(self, item: T) -> asyncio.Future[R]:
        """Queue one item; raises ServiceUnavailable (503, Retry-After) when too many wait."""
        if self._count >= self._waiting_limit:
            raise ServiceUnavailable(
                f"{self._waiting_limit} requests wait for the database already; try again in a"
                " second."
            )
        owner = self._owner_of(item) if self._owner_of is not None else None
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = deque()
            self._turns.append(line)
        elif len(line) >= self._owner_limit:
            raise ServiceUnavailable(
                f"{self._owner_limit} requests of the project wait for the database already; try"
                " again in a second."
            )
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        line.append((item, future))
        self._count += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)
        return future

    async def drain(self) -> None:
        """Wait until everything submitted so far is handled."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._count:
                await self._handle_batch(self._next_batch())
        finally:
            self._task = None

    def _next_batch(self) -> list[tuple[T, asyncio.Future[R]]]:
        size = min(self._batch_size, self._count)
        self._count -= size
        if len(self._turns) == 1 and len(line := self._turns[0]) > size:
            return [line.popleft() for _ in range(size)]
        batch = []
        for _ in range(size):
            line = self._turns.popleft()
            waiting = line.popleft()
            batch.append(waiting)
            if line:
                self._turns.append(line)
            else:
                owner = self._owner_of(waiting[0]) if self._owner_of is not None else None
                del self._lines[owner]
        return batch

    async def _handle_batch(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        results: Sequence[R | BaseException]
        try:
            results = await self._answers([item for item, _ in batch])
        except Exception as exc:  # noqa: BLE001 (each item gets it)
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
