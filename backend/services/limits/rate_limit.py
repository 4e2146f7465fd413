"""A key's messages in a sliding window and a project's in a calendar month, counted in
Redis.

The window's count is the current one's plus the part of the last one's that still overlaps
(Cloudflare's sliding window counter: two counters a key, error under 1 % on real traffic). A
month's counter that Redis does not have is counted from Postgres first. All requests that wait at
the same time share one round trip.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import redis
import redis.asyncio
import structlog

from backend.models.partitions import month_start
from backend.outages import OutageLog
from backend.process.group_commit import GroupCommit

log = structlog.get_logger()

# ARGV: window s, month, then (key, limit, project, quota, selection) for each; a limit or quota of
# -1 counts nothing. Returns ms into the window, then (granted, used in the window, used in the
# month) for each; only what is granted is counted, so that a blocked client is not blocked for
# longer. Granted is -1 when the month's counter is not here: nothing was counted, and it must be
# seeded.
_TAKE_SCRIPT: Final = """
local t = redis.call('TIME')
local window = tonumber(ARGV[1])
local index = math.floor(t[1] / window)
local into = (t[1] % window) + t[2] / 1000000
local out = {math.floor(into * 1000)}
for i = 3, #ARGV, 5 do
  local limit, quota, granted = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local name, month = 'rate:' .. ARGV[i] .. ':', 'quota:' .. ARGV[i + 2] .. ':' .. ARGV[2]
  local used, sent = 0, 0
  if limit >= 0 then
    local now_count = tonumber(redis.call('GET', name .. index) or '0')
    local last_count = tonumber(redis.call('GET', name .. (index - 1)) or '0')
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
  out[#out + 1] = sent
end
return out
"""

# A counter that is gone was counted from Postgres since, without the message that is given back.
_GIVE_BACK_SCRIPT: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('DECR', KEYS[1]) end
return 0
"""
_MONTH_TTL_S: Final = 32 * 24 * 3600


class Demand(NamedTuple):
    """Whose limits one message counts against.

    `limit` a window of the key, `quota` a month; None: none.
    """

    key_id: UUID | None
    limit: int | None
    project_id: UUID
    quota: int | None

    @property
    def is_limited(self) -> bool:
        return self.limit is not None or self.quota is not None


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit after this message.

    `reset_s` is when the window's oldest part, or the month, has passed.
    """

    policy: str  # key | project
    limit: int
    remaining: int
    reset_s: int
    window_s: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """The answer to one request; `refused_by` is the bucket that is empty."""

    buckets: tuple[Bucket, ...]
    refused_by: Bucket | None = None

    @property
    def is_allowed(self) -> bool:
        return self.refused_by is None

    def headers(self) -> dict[str, str]:
        """The RateLimit header fields (IETF draft-ietf-httpapi-ratelimit-headers)."""
        headers = {
            "RateLimit-Policy": ", ".join(
                f'"{b.policy}";q={b.limit};w={b.window_s}' for b in self.buckets
            ),
            "RateLimit": ", ".join(
                f'"{b.policy}";r={b.remaining};t={b.reset_s}' for b in self.buckets
            ),
        }
        if self.refused_by is not None:
            headers["Retry-After"] = str(self.refused_by.reset_s)
        return headers


# Counts a project's messages of the month that begins at an instant.
CountMonth = Callable[[UUID, datetime], Awaitable[int]]


class RateLimiter:
    """`fail_open`: whether a kind of key (secret, publishable) may send while Redis cannot
    count.
    """

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
        """Count one message; None when Redis is away and nothing was counted."""
        return await self._group.submit((demand, 1))

    async def look(self, demand: Demand) -> Allowance | None:
        """Tell where the limits stand without counting anything."""
        return await self._group.submit((demand, 0))

    async def give_back(self, demand: Demand) -> None:
        """A message that was not accepted after all does not use up the month; it was a try within
        the hour.
        """
        if demand.quota is None:
            return
        try:
            await self._give_back_script(
                keys=[_month_counter(demand.project_id, datetime.now(UTC))]
            )
        except redis.RedisError as exc:
            self._say_unreachable(exc, 1)

    def is_open(self, kind: str) -> bool:
        """Tell whether this kind of key may send although nothing can be counted."""
        return self._fail_open.get(kind, False)

    def _say_unreachable(self, exc: redis.RedisError, requests: int) -> None:
        choices = {
            f"{kind}_keys": "open" if is_open else "closed"
            for kind, is_open in self._fail_open.items()
        }
        self._outage.warn(exc, requests=requests, **choices)

    async def _take_batch(self, batch: Sequence[tuple[Demand, int]]) -> Sequence[Allowance | None]:
        expected: Counter[Demand] = Counter()
        for demand, count in batch:
            expected[demand] += count
        now = datetime.now(UTC)
        try:
            into_ms, taken = await self._take(expected, now)
        except redis.RedisError as exc:
            self._say_unreachable(exc, len(batch))
            return [None] * len(batch)
        reset_s = max(1, math.ceil(self._window_s - into_ms / 1000))
        granted_so_far: defaultdict[Demand, int] = defaultdict(int)
        answers: list[Allowance | None] = []
        for demand, count in batch:
            granted, used, sent = taken[demand]
            place = granted_so_far[demand] = granted_so_far[demand] + count
            counted = min(place, granted)
            buckets = _buckets(
                demand, used + counted, sent + counted, reset_s=reset_s, window_s=self._window_s
            )
            answers.append(Allowance(buckets, _refusing(buckets) if place > granted else None))
        return answers

    async def _take(
        self, expected: Mapping[Demand, int], now: datetime
    ) -> tuple[int, dict[Demand, tuple[int, int, int]]]:
        """Return ms into the window, and (granted, used, sent this month) of each demand."""
        into_ms, taken = await self._run_script(expected, now)
        lost = {demand: count for demand, count in expected.items() if taken[demand][0] < 0}
        if lost:
            await self._seed({demand.project_id for demand in lost}, now)
            into_ms, again = await self._run_script(lost, now)
            # Lost again in between: nothing was counted, so nothing is granted; the next
            # request seeds again.
            taken.update(
                {
                    demand: (max(0, granted), used, sent)
                    for demand, (granted, used, sent) in again.items()
                }
            )
        return into_ms, taken

    async def _run_script(
        self, expected: Mapping[Demand, int], now: datetime
    ) -> tuple[int, dict[Demand, tuple[int, int, int]]]:
        arguments: list[Any] = [self._window_s, f"{now:%Y%m}"]
        for (key_id, limit, project_id, quota), count in expected.items():
            arguments += (
                "" if key_id is None else key_id.hex,
                -1 if limit is None else limit,
                "" if quota is None else project_id.hex,
                -1 if quota is None else quota,
                count,
            )
        raw: list[int] = await self._script(keys=[], args=arguments)
        answers = zip(raw[1::3], raw[2::3], raw[3::3], strict=True)
        return raw[0], dict(zip(expected, answers, strict=True))

    async def _seed(self, project_ids: set[UUID], now: datetime) -> None:
        for project_id in project_ids:
            sent = await self._count_month(project_id, month_start(now))
            # NX: another process that was quicker has counted since.
            await self._redis.set(_month_counter(project_id, now), sent, ex=_MONTH_TTL_S, nx=True)
            log.info("quota.seeded", project_id=str(project_id), messages=sent)


def _month_counter(project_id: UUID, now: datetime) -> str:
    return f"quota:{project_id.hex}:{now:%Y%m}"


def _buckets(
    demand: Demand, used: int, sent: int, *, reset_s: int, window_s: int
) -> tuple[Bucket, ...]:
    buckets: tuple[Bucket, ...] = ()
    if demand.limit is not None:
        buckets = (Bucket("key", demand.limit, max(0, demand.limit - used), reset_s, window_s),)
    if demand.quota is not None:
        now = datetime.now(UTC)
        start, end = month_start(now), month_start(now, 1)
        left_s = max(1, math.ceil((end - now).total_seconds()))
        month_s = int((end - start).total_seconds())
        buckets = (
            *buckets,
            Bucket("project", demand.quota, max(0, demand.quota - sent), left_s, month_s),
        )
    return buckets


def _refusing(buckets: tuple[Bucket, ...]) -> Bucket:
    """Return the empty bucket; of two the one that stays empty for longer."""
    empty = [bucket for bucket in buckets if bucket.remaining == 0]
    return max(empty or buckets, key=lambda bucket: bucket.reset_s)
