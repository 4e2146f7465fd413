"""Pacing: how many things an owner may send now, shared by all workers through Redis.

Redis's clock decides, and only its; workers' clocks do not matter. Each pace (owners of one key
share theirs) has the time at which its next thing would be on time (GCRA). Losing them gives one
short burst. When Redis does not answer, a tenth of a second's worth goes out, so that a server's
limit is not overrun blindly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import redis
import redis.asyncio

from backend.outages import OutageLog
from backend.queueing import MESSAGES, Turn, WorkQueue

# How late an owner may be without losing anything, and so how much it may send at once beside the
# thing that is on time: small enough to stay near the rate, large enough for few claims.
_BURST_US: Final = 100_000
_LONGEST_INTERVAL_US: Final = 24 * 3600 * 1_000_000
_AWAY_MS: Final = 100

# ARGV: burst in microseconds, then for each turn: pace, owner, microseconds a thing, how many are
# asked for. Returns for each: how many are permitted, ms until a claim is worthwhile again. An
# owner that gets none is on hold so long.
_ASK_SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local out = {}
for i = 2, #ARGV, 4 do
  local key = prefix .. 'pace:' .. ARGV[i]
  local each, asked = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local burst = each + tonumber(ARGV[1])
  local known = tonumber(redis.call('GET', key) or 0)
  local tat = math.min(math.max(known, now), now + burst)
  local permitted = math.max(0, math.min(asked, math.floor((now + burst - tat) / each)))
  tat = tat + permitted * each
  if permitted > 0 or tat < known then
    redis.call('SET', key, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1000)
  end
  local batch = math.max(1, math.floor(burst / each / 2))
  local wait = math.max(1, math.ceil((tat + batch * each - burst - now) / 1000))
  if permitted == 0 then
    local hold = prefix .. 'hold:' .. ARGV[i + 1]
    if not redis.call('SET', hold, '1', 'PX', wait, 'NX') and redis.call('PTTL', hold) < wait then
      redis.call('PEXPIRE', hold, wait)
    end
  end
  out[#out + 1] = permitted
  out[#out + 1] = wait
end
return out
"""

# ARGV: pace, microseconds to give back, for each.
_GIVE_BACK_SCRIPT: Final = """
for i = 1, #ARGV, 2 do
  local key = prefix .. 'pace:' .. ARGV[i]
  local tat = redis.call('GET', key)
  if tat then
    tat = tonumber(tat) - tonumber(ARGV[i + 1])
    redis.call('SET', key, string.format('%.0f', tat), 'KEEPTTL')
  end
end
"""

# ARGV: pair, microseconds a thing, for each. Returns for each 0, or the ms until its own place in
# the line.
_PAIRS_SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local out, behind = {}, {}
for i = 1, #ARGV, 2 do
  local key, each = prefix .. 'pair:' .. ARGV[i], tonumber(ARGV[i + 1])
  local tat = math.min(tonumber(redis.call('GET', key) or 0), now + each)
  if tat <= now then
    redis.call('SET', key, string.format('%.0f', now + each), 'PX', math.ceil(each / 1000))
    out[#out + 1] = 0
  else
    local place = behind[key] or 0
    behind[key] = place + 1
    out[#out + 1] = math.max(1, math.ceil((tat - now + place * each) / 1000))
  end
end
return out
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """A rate, and the key under which it is counted."""

    key: str
    per_second: float

    @property
    def interval_us(self) -> int:
        return max(1, round(min(1_000_000 / self.per_second, _LONGEST_INTERVAL_US)))


@dataclass(frozen=True, slots=True)
class Permit:
    """`count` things may go now; asking again is worthwhile in `wait_ms`."""

    count: int
    wait_ms: int


class Pacer:
    """Costs no round trip for owners without a pace."""

    def __init__(self, client: redis.asyncio.Redis, queue: WorkQueue = MESSAGES) -> None:
        self._outage = OutageLog("pacing.unreachable")
        self._ask_script = client.register_script(queue.script(_ASK_SCRIPT))
        self._give_back_script = client.register_script(queue.script(_GIVE_BACK_SCRIPT))
        self._pairs_script = client.register_script(queue.script(_PAIRS_SCRIPT))

    async def ask(
        self, counts: Mapping[Turn, int], paces: Mapping[UUID, Pace]
    ) -> dict[Turn, Permit]:
        """Return what each paced turn may send of its count; unpaced turns are not in it.

        `paces` are those of the owners.
        """
        paced: list[tuple[Turn, int]] = []
        arguments: list[Any] = [_BURST_US]
        for turn, count in counts.items():
            pace = paces.get(turn[1])
            if pace is not None:
                paced.append((turn, pace.interval_us))
                arguments += (pace.key, turn[1].hex, pace.interval_us, count)
        if not paced:
            return {}
        try:
            raw = await self._ask_script(args=arguments)
        except redis.RedisError as exc:
            self._outage.warn(exc, connectors=len(paced))
            return {
                turn: Permit(min(counts[turn], 1 + _BURST_US // interval_us), _AWAY_MS)
                for turn, interval_us in paced
            }
        return {turn: Permit(raw[2 * i], raw[2 * i + 1]) for i, (turn, _) in enumerate(paced)}

    async def give_back(self, unused: Mapping[UUID, int], paces: Mapping[UUID, Pace]) -> None:
        """Return what was permitted to these owners and not sent."""
        arguments: list[Any] = []
        for owner_id, count in unused.items():
            pace = paces.get(owner_id)
            if count > 0 and pace is not None:
                arguments += (pace.key, count * pace.interval_us)
        if not arguments:
            return
        try:
            await self._give_back_script(args=arguments)
        except redis.RedisError as exc:
            self._outage.warn(exc)

    async def delays_s(self, paced: Sequence[tuple[UUID, Pace]]) -> dict[UUID, float]:
        """Return which of these things, (id, pace of its recipient), would overrun their pace, each
        with the time until its place; the others take theirs now.
        """
        if not paced:
            return {}
        arguments: list[Any] = []
        for _, pace in paced:
            arguments += (pace.key, pace.interval_us)
        try:
            raw = await self._pairs_script(args=arguments)
        except redis.RedisError as exc:
            self._outage.warn(exc, messages=len(paced))
            return {}
        return {
            key: wait_ms / 1000 for (key, _), wait_ms in zip(paced, raw, strict=True) if wait_ms
        }
