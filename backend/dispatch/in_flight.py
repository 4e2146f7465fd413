"""What one process holds: leases whose outcome is not recorded yet, and the room for more.

A lease is renewed three times within its time for as long as it is held here; one that is let go
ends by itself, or with what is recorded under it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

import structlog

from backend.dispatch.shares import SLOW_S, Shares
from backend.outages import is_outage
from backend.process.rounds import Rounds

log = structlog.get_logger()

Lease = TypeVar("Lease")


class InFlight(Generic[Lease]):
    """`renew` prolongs leases where they are kept, for `lease_s` again."""

    def __init__(
        self,
        concurrency: int,
        *,
        lease_s: float,
        renew: Callable[[Sequence[Lease]], Awaitable[None]],
    ) -> None:
        self.shares = Shares(concurrency)
        self.is_stopping = False
        self._lease_s = lease_s
        self._renew = renew
        self._held: dict[UUID, tuple[UUID, Lease]] = {}
        self._has_room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, key: UUID, owner_id: UUID, lease: Lease, now: float) -> None:
        """Keep a lease, and a place of its owner's share; `now` is the event loop's time."""
        self._held[key] = (owner_id, lease)
        self.shares.start(owner_id, now)

    def let_go(self, key: UUID) -> None:
        """End what was held; does nothing about a lease that wasn't."""
        held = self._held.pop(key, None)
        if held is not None:
            self.shares.end(held[0])
        self._has_room.set()

    def request_stop(self) -> None:
        """From here on there is no room; what is held is kept."""
        self.is_stopping = True
        self._has_room.set()

    async def wait_for_room(self) -> int:
        """Return how many more may start; waits until a quarter is free, or a slow owner shows."""
        loop = asyncio.get_running_loop()
        enough = max(1, self.shares.concurrency // 4)
        while (room := self.shares.room(loop.time())) < enough and not self.is_stopping:
            self._has_room.clear()
            try:
                await asyncio.wait_for(self._has_room.wait(), timeout=SLOW_S)
            except TimeoutError:
                return self.shares.room(loop.time())
        return 0 if self.is_stopping else room

    async def keep_leases(self) -> None:
        """Renew what is held; runs until cancelled."""
        every_s = self._lease_s / 3
        await Rounds(every_s, self._renew_held, first_after_s=every_s).run()

    async def _renew_held(self) -> None:
        leases = [lease for _, lease in self._held.values()]
        if not leases:
            return
        try:
            await self._renew(leases)
        except Exception as exc:
            if not is_outage(exc):
                raise
            log.warning("lease.database_away", error=type(exc).__name__, claims=len(leases))
