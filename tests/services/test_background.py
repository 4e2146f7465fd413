"""Background tasks end when they are told to, also when a library loses the first request."""

from __future__ import annotations

import asyncio

import pytest

from backend.services.background import end_tasks


async def _forever(swallowed_cancels: int = 0) -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if swallowed_cancels == 0:
                raise
            swallowed_cancels -= 1


@pytest.mark.parametrize("swallowed", [0, 1, 2])
async def test_a_task_that_loses_a_cancellation_ends_all_the_same(swallowed: int) -> None:
    tasks = [asyncio.create_task(_forever(swallowed)), asyncio.create_task(_forever())]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_tasks(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_task_that_failed_does_not_keep_the_others_from_ending() -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    tasks = [asyncio.create_task(fail()), asyncio.create_task(_forever())]
    await asyncio.sleep(0)
    await end_tasks(tasks)
    assert isinstance(tasks[0].exception(), RuntimeError)
    assert tasks[1].cancelled()


async def test_with_nothing_running_there_is_nothing_to_wait_for() -> None:
    await end_tasks([])
