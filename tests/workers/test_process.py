"""What runs in a worker process beside its deliveries, each for itself."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import uvloop

from backend.services.delivery.engine import DeliveryEngine
from backend.settings import Settings
from workers.feeding import run_on_thread
from workers.process import DeliveryProcess


@pytest.fixture
def as_it_was() -> Iterator[None]:
    """A process sets its interpreter up for good; this one goes on with other tests."""
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("as_it_was")
def test_campaigns_are_fed_beside_the_loop_that_delivers(own_settings: Settings) -> None:
    process = DeliveryProcess(own_settings)
    process.start()
    try:
        assert "campaigns" in {state.name for state in process.background.states()}
        assert process.background.failing() == []
        ends_at = time.monotonic() + 10
        while not {"delivery", "campaigns"} <= _threads_of_loops():
            assert time.monotonic() < ends_at, _threads_of_loops()
            time.sleep(0.01)
        assert process.unopened_connectors == 0
    finally:
        process.stop()
    assert not {"delivery", "campaigns"} & _threads_of_loops()


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop isn't there")
@pytest.mark.usefixtures("as_it_was")
def test_a_worker_delivers_on_uvloop(own_settings: Settings) -> None:
    loops: list[type[asyncio.AbstractEventLoop]] = []

    async def note_loop(engine: DeliveryEngine) -> None:
        loops.append(type(asyncio.get_running_loop()))

    process = DeliveryProcess(own_settings)
    process.start()
    try:
        process.run(note_loop, timeout_s=10)
    finally:
        process.stop()
    assert loops == [uvloop.Loop]


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop isn't there")
async def test_campaigns_are_fed_on_uvloop() -> None:
    loops: list[type[asyncio.AbstractEventLoop]] = []

    async def note_loop() -> None:
        loops.append(type(asyncio.get_running_loop()))

    await run_on_thread("campaigns", note_loop)
    assert loops == [uvloop.Loop]


def _threads_of_loops() -> set[str]:
    return {thread.name for thread in threading.enumerate()}
