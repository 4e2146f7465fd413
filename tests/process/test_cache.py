"""The read-through cache: one load for many, nothing stale after `forget`, no error kept."""

from __future__ import annotations

import asyncio

import pytest

from backend.process.cache import ReadThroughCache


class Source:
    """Numbers its answers per key; waits at `gate` while it is closed."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def __call__(self, key: str) -> str:
        self.loads.append(key)
        answer = f"{key}{self.loads.count(key)}"
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return answer


async def _until_loading(source: Source, loads: int = 1) -> None:
    async with asyncio.timeout(20):
        while len(source.loads) < loads:
            await asyncio.sleep(0)


def _cache(source: Source, *, size: int = 10, ttl_s: float = 60.0) -> ReadThroughCache[str, str]:
    return ReadThroughCache(source, size=size, ttl_s=ttl_s)


async def test_concurrent_misses_share_one_load() -> None:
    source = Source()
    cache = _cache(source)
    assert set(await asyncio.gather(*(cache.get("a") for _ in range(50)))) == {"a1"}
    assert await cache.get("a") == "a1"
    assert source.loads == ["a"]


async def test_keys_do_not_wait_for_each_other() -> None:
    source = Source()
    cache = _cache(source)
    source.gate.clear()
    slow = asyncio.create_task(cache.get("a"))
    await _until_loading(source)
    source.gate.set()
    assert await cache.get("b") == "b1"
    assert await slow == "a1"


async def test_what_was_forgotten_is_loaded_again() -> None:
    source = Source()
    cache = _cache(source)
    await cache.get("a")
    await cache.get("b")
    cache.forget("a")
    assert cache.peek("a") is None
    assert await cache.get("a") == "a2"
    assert await cache.get("b") == "b1"


@pytest.mark.parametrize("how", ["forget", "forget_where"])
async def test_a_load_under_way_does_not_bring_back_what_has_changed(how: str) -> None:
    """The load may have read the row before the change was committed."""
    source = Source()
    cache = _cache(source)
    source.gate.clear()
    early = asyncio.create_task(cache.get("a"))
    await _until_loading(source)
    if how == "forget":
        cache.forget("a")
    else:
        cache.forget_where(lambda value: False)
    late = asyncio.create_task(cache.get("a"))
    await _until_loading(source, 2)
    source.gate.set()
    assert await early == "a1"
    assert await late == "a2"
    assert cache.peek("a") == "a2"


async def test_forgetting_by_value_leaves_the_others() -> None:
    source = Source()
    cache = _cache(source)
    for key in ("a", "b", "c"):
        await cache.get(key)
    cache.forget_where(lambda value: value in {"a1", "c1"})
    assert [cache.peek(key) for key in ("a", "b", "c")] == [None, "b1", None]


async def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    source = Source()
    cache = _cache(source)
    source.failure = LookupError("no such row")
    answers = await asyncio.gather(*(cache.get("a") for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError] * 3
    assert source.loads == ["a"]
    source.failure = None
    assert await cache.get("a") == "a2"


async def test_one_caller_giving_up_does_not_cancel_the_load() -> None:
    source = Source()
    cache = _cache(source)
    source.gate.clear()
    impatient, patient = (asyncio.create_task(cache.get("a")) for _ in range(2))
    await _until_loading(source)
    impatient.cancel()
    await asyncio.wait([impatient])
    source.gate.set()
    assert await patient == "a1"
    assert source.loads == ["a"]


async def test_an_entry_expires() -> None:
    source = Source()
    cache = _cache(source, ttl_s=0.05)
    assert await cache.get("a") == "a1"
    await asyncio.sleep(0.08)
    assert cache.peek("a") is None
    assert await cache.get("a") == "a2"


async def test_the_size_is_bounded_and_the_oldest_goes_first() -> None:
    source = Source()
    cache = _cache(source, size=3)
    for key in "abcd":
        await cache.get(key)
    assert cache.peek("a") is None
    assert [cache.peek(key) for key in "bcd"] == ["b1", "c1", "d1"]
