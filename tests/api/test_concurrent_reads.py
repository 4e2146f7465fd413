"""A caller's reads: a few at a time, in the order they came, whatever other callers do."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from backend.api.frame.concurrent_reads import ReadSlots
from backend.errors import RateLimitExceeded


async def test_a_caller_with_all_its_slots_taken_waits_and_others_do_not() -> None:
    slots = ReadSlots(4, wait_s=0.05)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(slots.slot("ada"))
        with pytest.raises(RateLimitExceeded, match="2 reads in progress") as refused:
            await stack.enter_async_context(slots.slot("ada"))
        assert refused.value.headers == {"Retry-After": "1"}
        await stack.enter_async_context(slots.slot("bob"))
    async with slots.slot("ada"), slots.slot("ada"):
        pass


async def test_slots_go_to_waiting_reads_in_the_order_they_came() -> None:
    slots = ReadSlots(2, wait_s=30)
    order: list[int] = []

    async def read(number: int) -> None:
        async with slots.slot("ada"):
            order.append(number)
            await asyncio.sleep(0)

    async with slots.slot("ada"):
        readers = [asyncio.create_task(read(number)) for number in range(5)]
        await asyncio.sleep(0)
        readers[1].cancel()  # its client has left
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*readers, return_exceptions=True)
    assert order == [0, 2, 3, 4]
    async with slots.slot("ada"):
        pass


async def test_a_read_canceled_as_its_turn_comes_passes_the_slot_on() -> None:
    slots = ReadSlots(2, wait_s=0.05)

    async def read() -> None:
        async with slots.slot("ada"):
            await asyncio.sleep(0)

    async with slots.slot("ada"):
        reader = asyncio.create_task(read())
        await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    async with slots.slot("ada"):
        pass
