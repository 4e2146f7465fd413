"""Step 7, pacing: how many messages a connector may send now, shared by all workers through Redis.

Redis's clock decides, and only its; workers' clocks do not matter. Each account (connectors with
the same bot token or number are one) has the time at which its next message would be on time
(GCRA); so has each pair of account and recipient. Losing them gives one short burst. When Redis
does not answer, a tenth of a second's worth goes out, so that a provider's limit is not overrun
blindly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

import redis
import redis.asyncio

from backend.ledger.claims import Claim
from backend.outages import OutageLog
from backend.queueing import Turn
from backend.services.delivery.open_connectors import Account

# How late an account may be without losing anything, and so how much it may send at once beside the
# message that is on time: small enough to stay near the rate, large enough for few claims.
_BURST_US: Final = 100_000
_LONGEST_INTERVAL_US: Final = 24 * 3600 * 1_000_000
_AWAY_MS: Final = 100

# ARGV: burst in microseconds, then for each turn: account, connector, microseconds a message,
# messages wanted. Returns for each: messages granted, ms until a claim is worth while again. A
# connector that gets none is on hold so long.
_ASK_SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local out = {}
for i = 2, #ARGV, 4 do
  local key, each, wanted = 'pace:' .. ARGV[i], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local burst = each + tonumber(ARGV[1])
  local known = tonumber(redis.call('GET', key) or 0)
  local tat = math.min(math.max(known, now), now + burst)
  local granted = math.max(0, math.min(wanted, math.floor((now + burst - tat) / each)))
  tat = tat + granted * each
  if granted > 0 or tat < known then
    redis.call('SET', key, string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1000)
  end
  local portion = math.max(1, math.floor(burst / each / 2))
  local wait = math.max(1, math.ceil((tat + portion * each - burst - now) / 1000))
  if granted == 0 then
    local hold = 'hold:' .. ARGV[i + 1]
    if not redis.call('SET', hold, '1', 'PX', wait, 'NX') and redis.call('PTTL', hold) < wait then
      redis.call('PEXPIRE', hold, wait)
    end
  end
  out[#out + 1] = granted
  out[#out + 1] = wait
end
return out
"""

# ARGV: account, microseconds to give back, for each.
_GIVE_BACK_SCRIPT: Final = """
for i = 1, #ARGV, 2 do
  local key = 'pace:' .. ARGV[i]
  local tat = redis.call('GET', key)
  if tat then redis.call('SET', key, string.format('%.0f', tonumber(tat) - tonumber(ARGV[i + 1])), 'KEEPTTL') end
end
"""

# ARGV: pair, microseconds a message, for each. Returns for each 0, or the ms until its own place in
# the line.
_PAIRS_SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local out, behind = {}, {}
for i = 1, #ARGV, 2 do
  local key, each = 'pair:' .. ARGV[i], tonumber(ARGV[i + 1])
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
class Grant:
    """`count` messages may go now; asking again is worth while in `wait_ms`."""

    count: int
    wait_ms: int


class Pacer:
    """Costs no round trip for accounts without a pace."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._outage = OutageLog("pacing.unreachable")
        self._ask_script = client.register_script(_ASK_SCRIPT)
        self._give_back_script = client.register_script(_GIVE_BACK_SCRIPT)
        self._pairs_script = client.register_script(_PAIRS_SCRIPT)

    async def ask(
        self, wanted: Mapping[Turn, int], accounts: Mapping[UUID, Account]
    ) -> dict[Turn, Grant]:
        """Return what each paced turn may send of what it wants; unpaced turns are not in it."""
        paced: list[tuple[Turn, int]] = []
        arguments: list[Any] = [_BURST_US]
        for turn, count in wanted.items():
            account = accounts[turn[1]]
            rate = account.pacing.per_second
            if rate is not None:
                each_us = _interval_us(rate)
                paced.append((turn, each_us))
                arguments += (account.pace_key, turn[1].hex, each_us, count)
        if not paced:
            return {}
        try:
            raw = await self._ask_script(args=arguments)
        except redis.RedisError as exc:
            self._outage.warn(exc, connectors=len(paced))
            return {
                turn: Grant(min(wanted[turn], 1 + _BURST_US // each_us), _AWAY_MS)
                for turn, each_us in paced
            }
        return {turn: Grant(raw[2 * i], raw[2 * i + 1]) for i, (turn, _) in enumerate(paced)}

    async def give_back(self, unused: Mapping[UUID, int], accounts: Mapping[UUID, Account]) -> None:
        """Return what was granted and not sent."""
        arguments: list[Any] = []
        for connector_id, count in unused.items():
            account = accounts[connector_id]
            if count > 0 and account.pacing.per_second is not None:
                arguments += (account.pace_key, count * _interval_us(account.pacing.per_second))
        if not arguments:
            return
        try:
            await self._give_back_script(args=arguments)
        except redis.RedisError as exc:
            self._outage.warn(exc)

    async def delays_s(
        self, claims: Sequence[Claim], accounts: Mapping[UUID, Account]
    ) -> dict[UUID, float]:
        """Return the messages that would overrun their recipient's pace, each with the time until
        its place.
        """
        paced: list[UUID] = []
        arguments: list[Any] = []
        for claim in claims:
            account = accounts[claim.connector_id]
            rate = account.most_per_second_to(claim.recipient)
            if rate is not None:
                paced.append(claim.message_id)
                arguments += (_pair(account.pace_key, claim.recipient), _interval_us(rate))
        if not paced:
            return {}
        try:
            raw = await self._pairs_script(args=arguments)
        except redis.RedisError as exc:
            self._outage.warn(exc, messages=len(paced))
            return {}
        return {
            message_id: wait_ms / 1000
            for message_id, wait_ms in zip(paced, raw, strict=True)
            if wait_ms
        }


def _interval_us(rate: float) -> int:
    return max(1, round(min(1_000_000 / rate, _LONGEST_INTERVAL_US)))


def _pair(account_key: str, recipient: str) -> str:
    return f"{account_key}:{blake2b(recipient.encode(), digest_size=8).hexdigest()}"
