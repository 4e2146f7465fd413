"""Reads of one caller: some at a time, in the order they came, and never those of another."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from backend.api.frame.concurrent_reads import ReadPlaces
from backend.errors import RateLimitExceeded


async def test_a_caller_with_all_its_places_waits_and_others_do_not() -> None:
    places = ReadPlaces(4, wait_s=0.05)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(places.place("ada"))
        with pytest.raises(RateLimitExceeded, match="2 reads under way") as refused:
            await stack.enter_async_context(places.place("ada"))
        assert refused.value.headers == {"Retry-After": "1"}
        await stack.enter_async_context(places.place("bob"))
    async with places.place("ada"), places.place("ada"):
        pass


async def test_places_go_to_those_who_wait_in_the_order_they_came() -> None:
    places = ReadPlaces(2, wait_s=30)
    order: list[int] = []

    async def read(number: int) -> None:
        async with places.place("ada"):
            order.append(number)
            await asyncio.sleep(0)

    async with places.place("ada"):
        readers = [asyncio.create_task(read(number)) for number in range(5)]
        await asyncio.sleep(0)
        readers[1].cancel()  # its client has left
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*readers, return_exceptions=True)
    assert order == [0, 2, 3, 4]
    async with places.place("ada"):
        pass


async def test_a_reader_that_leaves_as_its_turn_comes_gives_it_on() -> None:
    """Else the next one is refused after its wait."""
    places = ReadPlaces(2, wait_s=0.05)

    async def read() -> None:
        async with places.place("ada"):
            await asyncio.sleep(0)

    async with places.place("ada"):
        reader = asyncio.create_task(read())
        await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    async with places.place("ada"):
        pass
