"""Draining: take turns until nothing is due for a moment, or the time is over.

The order of looking and giving the bell back loses no ring: one that came while the bell was ours
enqueued no job, so there is a last look after it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from backend.queueing import Doorbell, ReadySet

_LINGER_S: Final = 0.1
_POLL_S: Final = 0.01


class TakesTurns(Protocol):
    @property
    def is_stopping(self) -> bool: ...

    @property
    def has_left_turns(self) -> bool:
        """Whether it left turns to other workers, which must be woken for them."""
        ...

    async def take_turns(self, *, keep_bell: bool = True) -> bool:
        """Start what is due; returns False when no owner was ready."""
        ...


async def drain(taker: TakesTurns, ready: ReadySet, doorbell: Doorbell, *, seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    idle_since: float | None = None
    while not taker.is_stopping and time.monotonic() < ends_at:
        if await taker.take_turns():
            idle_since = None
            continue
        now = time.monotonic()
        idle_since = idle_since or now
        if now - idle_since < _LINGER_S:
            await asyncio.sleep(_POLL_S)
            continue
        # A ring before this line found the bell taken and enqueued nothing: look again.
        await ready.release_bell()
        if not await taker.take_turns(keep_bell=False):
            if taker.has_left_turns:
                await doorbell.call_for_help()
            return
        idle_since = None
    await ready.release_bell()
    await doorbell.call_for_help()
