"""What lives as long as a process, and how its tasks end, also when a library loses the first
request.
"""

from __future__ import annotations

import asyncio
import gc
from functools import partial

import pytest

from backend.process.background import BackgroundTasks, collect_nothing, end_tasks, keep_for_good


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
    """`asyncio.wait` itself raises for an empty set."""
    await end_tasks([])


def test_what_is_kept_for_good_is_passed_over_by_the_collector() -> None:
    kept = [object() for _ in range(3)]
    thresholds = gc.get_threshold()
    try:
        collect_nothing()
        assert not gc.isenabled()
        keep_for_good()
        assert gc.isenabled()
        assert not any(thing is kept for thing in gc.get_objects())
        assert gc.get_threshold() > thresholds
    finally:
        gc.enable()
        gc.unfreeze()
        gc.set_threshold(*thresholds)
    assert any(thing is kept for thing in gc.get_objects())


async def test_a_background_task_that_fails_or_ends_is_started_again_and_counted() -> None:
    runs = {"fails": 0, "ends": 0}
    again = {name: asyncio.Event() for name in runs}

    async def work(name: str) -> None:
        runs[name] += 1
        if runs[name] == 3:
            again[name].set()
            await asyncio.Event().wait()
        if name == "fails":
            raise LookupError("broken")

    tasks = BackgroundTasks()
    for name in runs:
        tasks.start(name, partial(work, name))
    tasks.start("well", _forever)
    async with asyncio.timeout(10):
        for event in again.values():
            await event.wait()
    states = {state.name: state for state in tasks.states()}
    assert states["fails"].failures == states["ends"].failures == 2
    assert states["fails"].error == "LookupError"
    assert {state.name for state in tasks.failing()} == {"fails", "ends"}
    assert states["well"].failures == 0
    await tasks.aclose()


async def test_two_background_tasks_cannot_share_a_name() -> None:
    tasks = BackgroundTasks()
    tasks.start("sweeper", _forever)
    with pytest.raises(ValueError, match="sweeper"):
        tasks.start("sweeper", _forever)
    await tasks.aclose()
