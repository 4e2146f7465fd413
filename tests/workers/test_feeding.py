"""The thread that feeds campaigns: it ends when it is told to, and what it fails with is known."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

import pytest

from backend.process.background import BackgroundTasks
from workers.feeding import run_on_thread


async def test_what_computes_on_the_thread_does_not_keep_the_loop() -> None:
    began = threading.Event()

    async def compute() -> None:
        began.set()
        time.sleep(1)  # noqa: ASYNC251 (as a text that takes long to render)

    task = asyncio.create_task(run_on_thread("computing", compute))
    while not began.is_set():
        await asyncio.sleep(0.01)
    # The loop is free while the thread is not.
    assert not task.done()
    await task


async def test_a_thread_that_is_told_to_stop_ends() -> None:
    ended = threading.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    tasks = BackgroundTasks()
    tasks.start("waiting", lambda: run_on_thread("waiting", wait))
    await asyncio.sleep(0.1)
    await tasks.aclose()
    assert ended.is_set()
    assert "waiting" not in {thread.name for thread in threading.enumerate()}


async def test_a_thread_that_fails_is_a_background_task_that_fails_and_begins_again() -> None:
    starts = threading.Semaphore(0)

    async def fail() -> None:
        starts.release()
        raise ValueError("broken")

    tasks = BackgroundTasks()
    tasks.start("failing", lambda: run_on_thread("failing", fail))
    for _ in range(2):
        assert await asyncio.to_thread(starts.acquire, timeout=10)
    (state,) = tasks.failing()
    assert (state.name, state.error) == ("failing", "ValueError")
    await tasks.aclose()


async def test_an_exit_on_the_thread_ends_only_the_thread() -> None:
    async def exit_the_process() -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="'leaving' ended with SystemExit"):
        await run_on_thread("leaving", exit_the_process)


async def test_a_lost_cancellation_is_repeated() -> None:
    """As `asyncio.wait_for` loses one on Python 3.11, when its result comes at the same moment."""
    ended = threading.Event()

    async def lose_the_first() -> None:
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(60)
        finally:
            ended.set()

    task = asyncio.create_task(run_on_thread("losing", lose_the_first))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
