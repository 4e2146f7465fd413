"""The circuit breaker: an owner that only fails is paused, and probed with one try at a time.

    closed -> open -> (pause over) half open -> closed | open, paused for twice as long

`circuit:{owner}` in Redis says that it is open (queueing.py hands out the probes), its `hold:` is
the pause. Losing Redis' part closes the circuit until failures open it again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import redis
import redis.asyncio

from backend.outages import OutageLog
from backend.queueing import LANE_COUNT, MESSAGES, Doorbell, Turn, WorkQueue

# Failures in a row that open it, and those that do so even where something succeeded a moment ago.
_FAILURES: Final = 5
_FAILURES_AMID_SUCCESS: Final = 20
_RECENT_S: Final = 1.0
_STALE_S: Final = 30.0
_FORGET_AFTER_MS: Final = 24 * 3600 * 1000
_MOST_KNOWN: Final = 10_000

# KEYS: circuit, hold. ARGV: first pause, longest pause, is it a probe (ms; 1 or 0), ms after which
# it is forgotten. Returns the new pause, 0 when another worker has opened it.
_OPEN_SCRIPT: Final = """
local pause = tonumber(redis.call('GET', KEYS[1]))
if pause and ARGV[3] == '0' then return 0 end
pause = pause and math.min(pause * 2, tonumber(ARGV[2])) or tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', pause), 'PX', ARGV[4])
redis.call('SET', KEYS[2], '1', 'PX', string.format('%.0f', pause))
return pause
"""


class CircuitListener(Protocol):
    """Shows an owner's circuit to people, and keeps what outlives Redis. Must not raise."""

    async def opened(
        self, owner_id: UUID, reason: str, pause_s: float, *, is_again: bool
    ) -> None: ...

    async def closed(self, owner_id: UUID) -> None: ...


@dataclass(slots=True)
class _Streak:
    """Failures in a row of one owner in this worker."""

    failures: int = 0
    is_open: bool = False


class Circuits:
    def __init__(
        self,
        client: redis.asyncio.Redis,
        doorbell: Doorbell,
        listener: CircuitListener,
        *,
        first_pause_s: float,
        longest_pause_s: float,
        queue: WorkQueue = MESSAGES,
    ) -> None:
        self._outage = OutageLog("circuit.unreachable")
        self._redis = client
        self._doorbell = doorbell
        self._listener = listener
        self._queue = queue
        self._first_pause_ms = int(first_pause_s * 1000)
        self._longest_pause_ms = int(longest_pause_s * 1000)
        self._open_script = client.register_script(_OPEN_SCRIPT)
        self._streaks: dict[UUID, _Streak] = {}
        self._succeeded_at: dict[UUID, float] = {}
        self._closed_at: dict[UUID, float] = {}

    def resume(self, owner_id: UUID) -> None:
        """Note that Redis gave a turn that isn't a probe: the circuit is closed."""
        streak = self._streaks.get(owner_id)
        if streak is not None and streak.is_open:
            del self._streaks[owner_id]

    async def failed(self, turn: Turn, reason: str, *, is_probe: bool) -> bool:
        """Count one failure of the turn's owner; returns whether its circuit is open."""
        streak = self._streak_of(turn[1])
        streak.failures += 1
        if is_probe or (not streak.is_open and self._is_dead(turn[1], streak)):
            streak.is_open = True
            await self._open(turn, reason, is_probe=is_probe)
        return streak.is_open

    async def answered(self, owner_id: UUID, *, is_probe: bool, is_known_open: bool) -> None:
        """Whatever it answered, it is there. Costs next to nothing where all is well.

        `is_known_open`: what the caller knew of the owner said that its circuit is open.
        """
        now = time.monotonic()
        self._succeeded_at[owner_id] = now
        streak = self._streaks.pop(owner_id, None) if self._streaks else None
        was_open = is_probe or (streak is not None and streak.is_open)
        # What the caller knew may be older than the circuit's closing.
        if was_open or (
            is_known_open and now - self._closed_at.get(owner_id, -_STALE_S) >= _STALE_S
        ):
            self._closed_at[owner_id] = now
            await self._close(owner_id)
        for known in (self._succeeded_at, self._closed_at):
            if len(known) > _MOST_KNOWN:
                known.clear()

    async def end_probe(self, owner_id: UUID, *, pause_s: float = 0.0) -> None:
        """Give back a probe that found out nothing: the next turn is one again."""
        hold = self._queue.hold(owner_id)
        try:
            if pause_s > 0:
                await self._redis.set(hold, "1", px=max(1, int(pause_s * 1000)))
            else:
                await self._redis.delete(hold)
        except redis.RedisError as exc:
            self._outage.warn(exc)

    def _is_dead(self, owner_id: UUID, streak: _Streak) -> bool:
        if streak.failures < _FAILURES:
            return False
        since_success_s = time.monotonic() - self._succeeded_at.get(owner_id, float("-inf"))
        return since_success_s > _RECENT_S or streak.failures >= _FAILURES_AMID_SUCCESS

    def _streak_of(self, owner_id: UUID) -> _Streak:
        streak = self._streaks.get(owner_id)
        if streak is None:
            if len(self._streaks) >= _MOST_KNOWN:
                self._streaks.clear()
            streak = self._streaks[owner_id] = _Streak()
        return streak

    async def _open(self, turn: Turn, reason: str, *, is_probe: bool) -> None:
        owner_id = turn[1]
        keys = [self._queue.circuit(owner_id), self._queue.hold(owner_id)]
        arguments = [self._first_pause_ms, self._longest_pause_ms, int(is_probe), _FORGET_AFTER_MS]
        try:
            pause_ms = int(await self._open_script(keys=keys, args=arguments))
        except redis.RedisError as exc:
            self._outage.warn(exc)
            return
        if pause_ms == 0:
            return
        self._doorbell.ring([turn], delay_ms=pause_ms + 1)
        await self._listener.opened(owner_id, reason, pause_ms / 1000, is_again=is_probe)

    async def _close(self, owner_id: UUID) -> None:
        try:
            await self._redis.delete(self._queue.circuit(owner_id), self._queue.hold(owner_id))
        except redis.RedisError as exc:
            self._outage.warn(exc)
        await self._listener.closed(owner_id)
        self._doorbell.ring([(lane, owner_id) for lane in range(LANE_COUNT)])
