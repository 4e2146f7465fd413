"""A small read-through cache: bounded, expiring, one load for concurrent misses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ReadThroughCache(Generic[K, V]):
    """Misses and errors are not kept; `forget` also spoils a load that is under way."""

    def __init__(self, load: Callable[[K], Awaitable[V]], *, size: int, ttl_s: float) -> None:
        self._load = load
        self._values: TTLCache[K, V] = TTLCache(size, ttl_s)
        self._loading: dict[K, asyncio.Task[V]] = {}

    def peek(self, key: K) -> V | None:
        return self._values.get(key)

    async def get(self, key: K) -> V:
        value = self._values.get(key)
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
        for key in [key for key, value in self._values.items() if matches(value)]:
            self._values.pop(key, None)

    async def _fill(self, key: K) -> V:
        me = asyncio.current_task()
        try:
            value = await self._load(key)
            if self._loading.get(key) is me:
                self._values[key] = value
            return value
        finally:
            if self._loading.get(key) is me:
                del self._loading[key]
