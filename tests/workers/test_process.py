"""What runs in a worker process beside its deliveries, each for itself."""

from __future__ import annotations

import threading

from backend.settings import Settings
from workers.process import DeliveryProcess


def test_campaigns_are_fed_beside_the_loop_that_delivers(own_settings: Settings) -> None:
    process = DeliveryProcess(own_settings)
    process.start()
    try:
        assert "campaigns" in {state.name for state in process.background.states()}
        assert process.background.failing() == []
        names = _threads_of_loops()
        assert {"delivery", "campaigns"} <= names, names
        assert process.unopened_connectors == 0
    finally:
        process.stop()
    assert not {"delivery", "campaigns"} & _threads_of_loops()


def _threads_of_loops() -> set[str]:
    return {thread.name for thread in threading.enumerate()}
