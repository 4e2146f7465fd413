"""What RQ runs. Jobs carry nothing; running one twice equals running it once."""

from __future__ import annotations

from workers import process

SLICE_S = 5.0


def drain() -> None:
    """Let this process's delivery engine claim for one slice."""
    process.current().run(lambda engine: engine.drain_slice(SLICE_S), timeout_s=SLICE_S + 30)
