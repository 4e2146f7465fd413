"""Messages of a key in a sliding window and of a project in a calendar month, counted in Redis.

A window's count is that of the current one plus the part of the last one that still overlaps
(Cloudflare's sliding window counter: two counters a key, error under 1 % on real traffic). A month
that Redis has no counter for is counted in Postgres first. All requests that wait at the same time
share one round trip.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import redis
import redis.asyncio
import structlog

from backend.models.partitions import month_start
from backend.outages import OutageLog
from backend.process.group_commit import GroupCommit
from backend.services.limits.allowance import Allowance, Bucket

log = structlog.get_logger()

# ARGV: window s, month, then (key, limit, project, quota, messages) for each demand; a limit or
# quota of -1 counts nothing. Returns ms into the window, then (granted, used in the window, seconds
# until the window has room for one more, used in the month) for each; only what is granted is
# counted, so that a refused client doesn't stay blocked for longer. Granted is -1 where Redis has
# no counter of the month: nothing was counted, and the counter must be seeded.
_TAKE_SCRIPT: Final = """
local t = redis.call('TIME')
local window = tonumber(ARGV[1])
local index = math.floor(t[1] / window)
local into = (t[1] % window) + t[2] / 1000000
local out = {math.floor(into * 1000)}
-- `last` fades away during this window, and `now` during the next one.
local function wait(limit, now, last)
  local left = limit - 1 - now
  if last <= left then return 0 end
  if left >= 0 then return window * (1 - left / last) - into end
  return window - into + math.min(window, window * (1 - (limit - 1) / now))
end
for i = 3, #ARGV, 5 do
  local limit, quota, granted = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local name, month = 'rate:' .. ARGV[i] .. ':', 'quota:' .. ARGV[i + 2] .. ':' .. ARGV[2]
  local used, sent, now_count, last_count, wait_s = 0, 0, 0, 0, 0
  if limit >= 0 then
    now_count = tonumber(redis.call('GET', name .. index) or '0')
    last_count = tonumber(redis.call('GET', name .. (index - 1)) or '0')
    used = now_count + last_count * (1 - into / window)
    granted = math.max(0, math.min(granted, math.floor(limit - used)))
  end
  if quota >= 0 then
    sent = redis.call('GET', month)
    if sent then
      sent = tonumber(sent)
      granted = math.max(0, math.min(granted, quota - sent))
    else
      sent, granted = 0, -1
    end
  end
  if granted > 0 then
    if limit >= 0 then
      redis.call('INCRBY', name .. index, granted)
      redis.call('EXPIRE', name .. index, window * 2)
    end
    if quota >= 0 then redis.call('INCRBY', month, granted) end
  end
  out[#out + 1] = granted
  out[#out + 1] = math.ceil(used)
  if limit >= 0 then wait_s = wait(limit, now_count + math.max(0, granted), last_count) end
  out[#out + 1] = math.max(0, math.floor(wait_s)) + 1
  out[#out + 1] = sent
end
return out
"""

# A counter that is gone gets seeded from Postgres, where the message that is given back isn't.
_GIVE_BACK_SCRIPT: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('DECR', KEYS[1]) end
return 0
"""
_MONTH_TTL_S: Final = 32 * 24 * 3600


class Demand(NamedTuple):
    """Which limits one message counts against.

    `limit` is messages in a window of the key, `quota` in a month of the project; None: no limit.
    """

    key_id: UUID | None
    limit: int | None
    project_id: UUID
    quota: int | None

    @property
    def is_limited(self) -> bool:
        return self.limit is not None or self.quota is not None


class _Grant(NamedTuple):
    """What the script answers for one demand: how many of its messages were counted (-1: the month
    must be seeded), and what was used before them in the window and in the month.

    `wait_s`: when the window has room for one more.
    """

    messages: int
    used: int
    wait_s: int
    sent: int


# Counts a project's messages of the month that begins at an instant.
CountMonth = Callable[[UUID, datetime], Awaitable[int]]


class RateLimiter:
    """`fail_open`: whether a kind of key (secret, publishable) may send while Redis is down."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        window_s: int,
        count_month: CountMonth,
        fail_open: Mapping[str, bool],
    ) -> None:
        self._outage = OutageLog("rate_limit.unreachable")
        self._redis = client
        self._window_s = window_s
        self._count_month = count_month
        self._fail_open = fail_open
        self._script = client.register_script(_TAKE_SCRIPT)
        self._give_back_script = client.register_script(_GIVE_BACK_SCRIPT)
        self._group: GroupCommit[tuple[Demand, int], Allowance | None] = GroupCommit(
            self._take_batch, name="rate-limiter", waiting_limit=100_000, batch_size=1000
        )

    async def take(self, demand: Demand) -> Allowance | None:
        """Count one message; None when Redis is down and nothing was counted."""
        return await self._group.submit((demand, 1))

    async def look(self, demand: Demand) -> Allowance | None:
        """Return where the limits stand, without counting anything."""
        return await self._group.submit((demand, 0))

    async def give_back(self, demand: Demand) -> None:
        """Take a message that was not accepted after all off the month. In the key's window it
        stays, as a try.
        """
        if demand.quota is None:
            return
        try:
            await self._give_back_script(
                keys=[_month_counter(demand.project_id, datetime.now(UTC))]
            )
        except redis.RedisError as exc:
            self._warn_unreachable(exc, 1)

    def is_open(self, kind: str) -> bool:
        """Whether this kind of key may send although nothing can be counted."""
        return self._fail_open.get(kind, False)

    def _warn_unreachable(self, exc: redis.RedisError, requests: int) -> None:
        choices = {
            f"{kind}_keys": "open" if is_open else "closed"
            for kind, is_open in self._fail_open.items()
        }
        self._outage.warn(exc, requests=requests, **choices)

    async def _take_batch(self, batch: Sequence[tuple[Demand, int]]) -> Sequence[Allowance | None]:
        # A batch has few demands, many times each. Looking one up hashes two UUIDs in Python, so it
        # is done once for each message.
        indices: dict[Demand, int] = {}
        index_of = [indices.setdefault(demand, len(indices)) for demand, _ in batch]
        totals = [0] * len(indices)
        for index, (_, messages) in zip(index_of, batch, strict=True):
            totals[index] += messages
        now = datetime.now(UTC)
        try:
            elapsed_ms, grants = await self._take(dict(zip(indices, totals, strict=True)), now)
        except redis.RedisError as exc:
            self._warn_unreachable(exc, len(batch))
            return [None] * len(batch)
        reset_s = max(1, math.ceil(self._window_s - elapsed_ms / 1000))
        grant_of = [grants[demand] for demand in indices]
        taken = [0] * len(indices)
        allowances: list[Allowance | None] = []
        for index, (demand, messages) in zip(index_of, batch, strict=True):
            grant = grant_of[index]
            taken[index] += messages
            counted = min(taken[index], grant.messages)
            buckets = _buckets(
                demand,
                grant.used + counted,
                grant.sent + counted,
                wait_s=grant.wait_s,
                reset_s=reset_s,
                window_s=self._window_s,
            )
            is_refused = taken[index] > grant.messages
            allowances.append(Allowance(buckets, _refusing(buckets) if is_refused else None))
        return allowances

    async def _take(
        self, demands: Mapping[Demand, int], now: datetime
    ) -> tuple[int, dict[Demand, _Grant]]:
        """Return the ms that have passed of the window, and what each demand was granted."""
        elapsed_ms, grants = await self._run_script(demands, now)
        unseeded = {
            demand: messages for demand, messages in demands.items() if grants[demand].messages < 0
        }
        if unseeded:
            await self._seed({demand.project_id for demand in unseeded}, now)
            elapsed_ms, second_grants = await self._run_script(unseeded, now)
            for demand, grant in second_grants.items():
                # Below 0: lost again in between. Nothing was counted, so nothing is granted; the
                # next request seeds it again.
                grants[demand] = grant._replace(messages=max(0, grant.messages))
        return elapsed_ms, grants

    async def _run_script(
        self, demands: Mapping[Demand, int], now: datetime
    ) -> tuple[int, dict[Demand, _Grant]]:
        arguments: list[Any] = [self._window_s, f"{now:%Y%m}"]
        for (key_id, limit, project_id, quota), messages in demands.items():
            arguments += (
                "" if key_id is None else key_id.hex,
                -1 if limit is None else limit,
                "" if quota is None else project_id.hex,
                -1 if quota is None else quota,
                messages,
            )
        elapsed_ms, *numbers = await self._script(keys=[], args=arguments)
        grants = map(_Grant, numbers[::4], numbers[1::4], numbers[2::4], numbers[3::4])
        return elapsed_ms, dict(zip(demands, grants, strict=True))

    async def _seed(self, project_ids: set[UUID], now: datetime) -> None:
        for project_id in project_ids:
            sent = await self._count_month(project_id, month_start(now))
            # NX: another process that was quicker has counted since.
            await self._redis.set(_month_counter(project_id, now), sent, ex=_MONTH_TTL_S, nx=True)
            log.info("quota.seeded", project_id=str(project_id), messages=sent)


def _month_counter(project_id: UUID, now: datetime) -> str:
    return f"quota:{project_id.hex}:{now:%Y%m}"


def _buckets(
    demand: Demand, used: int, sent: int, *, wait_s: int, reset_s: int, window_s: int
) -> tuple[Bucket, ...]:
    buckets: list[Bucket] = []
    if demand.limit is not None:
        remaining = max(0, demand.limit - used)
        # An empty bucket says when there is one message in it again.
        again_s = reset_s if remaining else wait_s
        buckets.append(Bucket("key", demand.limit, remaining, again_s, window_s))
    if demand.quota is not None:
        now = datetime.now(UTC)
        start, end = month_start(now), month_start(now, 1)
        left_s = max(1, math.ceil((end - now).total_seconds()))
        month_s = int((end - start).total_seconds())
        remaining = max(0, demand.quota - sent)
        buckets.append(Bucket("project", demand.quota, remaining, left_s, month_s))
    return tuple(buckets)


def _refusing(buckets: tuple[Bucket, ...]) -> Bucket:
    """Return the empty bucket; of two, the one that stays empty for longer."""
    empty = [bucket for bucket in buckets if bucket.remaining == 0]
    return max(empty or buckets, key=lambda bucket: bucket.reset_s)
