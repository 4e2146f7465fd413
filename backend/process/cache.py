"""A small read-through cache: bounded, expiring, one load for concurrent misses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ReadThroughCache(Generic[K, V]):
    """Misses and errors are not kept; `forget` also spoils a load that is under way.

    Every send reads a few of these, so it is a plain dict: a general cache with locks and links
    costs ten times as much.
    """

    def __init__(
        self,
        load: Callable[[K], Awaitable[V]],
        *,
        size: int,
        ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._size = size
        self._ttl_s = ttl_s
        self._clock = clock
        # (until, value), in the order of loading, which is that of expiry.
        self._values: dict[K, tuple[float, V]] = {}
        self._loading: dict[K, asyncio.Task[V]] = {}

    def peek(self, key: K) -> V | None:
        entry = self._values.get(key)
        if entry is None or entry[0] <= self._clock():
            return None
        return entry[1]

    async def get(self, key: K) -> V:
        value = self.peek(key)
        if value is not None:
            return value
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._fill(key))
            self._loading[key] = task
        # Shielded: one caller giving up must not cancel the load the others wait for.
        return await asyncio.shield(task)

    def forget(self, key: K) -> None:
        self._values.pop(key, None)
        self._loading.pop(key, None)

    def forget_where(self, matches: Callable[[V], bool]) -> None:
        """Drop what matches. Loads under way are spoiled: they may hold what has just changed."""
        self._loading.clear()
        for key in [key for key, (_, value) in self._values.items() if matches(value)]:
            self._values.pop(key, None)

    def forget_with(self, attribute: str, value: object) -> None:
        """Drop the entries whose attribute has this value."""
        self.forget_where(lambda entry: getattr(entry, attribute) == value)

    def clear(self) -> None:
        self.forget_where(lambda _: True)

    async def _fill(self, key: K) -> V:
        me = asyncio.current_task()
        try:
            value = await self._load(key)
            if self._loading.get(key) is me:
                self._keep(key, value)
            return value
        finally:
            if self._loading.get(key) is me:
                del self._loading[key]

    def _keep(self, key: K, value: V) -> None:
        now = self._clock()
        self._values.pop(key, None)
        while self._values:
            oldest = next(iter(self._values))
            if len(self._values) < self._size and self._values[oldest][0] > now:
                break
            del self._values[oldest]
        self._values[key] = (now + self._ttl_s, value)
