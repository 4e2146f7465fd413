"""The doorbell. Redis carries wake-ups, never messages; losing one loses nothing.

`ready:{lane}` is a sorted set of owners that may have something due, score = not before (ms of
Redis's clock). An owner is what takes turns in a queue: messages wait for their connector. A set
`bell` means a drain job is on its way, or a worker is looking at the ready set right now; it
expires by itself, so that a crash cannot silence it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

import redis
import redis.asyncio
from rq import Queue
from rq.serializers import JSONSerializer

from backend.outages import OutageLog

# Jobs are JSON: who can write to Redis gets no code run. Versions whose jobs were pickles listen to
# "deliver".
QUEUE: Final = "wake"
DRAIN_JOB: Final = "workers.jobs.drain"
INVALIDATION_CHANNEL: Final = "messagejs:changes"
LANE_COUNT: Final = 3

_BELL_MS: Final = 2000
# How long a probe may take before another worker may try: longer than a claim's lease by default.
PROBE_MS: Final = 40_000
# The sweeper rings for what is due every second; a delay up to this is worth a ring on time.
_ALARM_MS: Final = 6000
_ALARM_STEP_MS: Final = 10
# A wake-up that no worker took for this long is worthless: the sweeper has rung again since.
_JOB_TTL_S: Final = 60


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """What tells one queue from another: its keys in Redis, and the RQ job that wakes a worker.

    `prefix` stands before every key; the messages' queue, the first one, has none.
    """

    prefix: str = ""
    rq_queue: str = QUEUE
    drain_job: str = DRAIN_JOB

    @property
    def bell(self) -> str:
        return f"{self.prefix}bell"

    def ready(self, lane: int) -> str:
        return f"{self.prefix}ready:{lane}"

    def hold(self, owner_id: UUID) -> str:
        """While this key lives, the owner gets no turn."""
        return f"{self.prefix}hold:{owner_id.hex}"

    def circuit(self, owner_id: UUID) -> str:
        """While this key lives, the owner's turns are probes (dispatch/circuits.py)."""
        return f"{self.prefix}circuit:{owner_id.hex}"

    def script(self, text: str) -> str:
        """Return a Lua script that finds this queue's `prefix` in a variable."""
        return f"local prefix = '{self.prefix}'\n{text}"


MESSAGES: Final = WorkQueue()

# ARGV: bell ms, then (lane, delay ms, owner) for each. Returns 1 when a drain job is needed.
_RING_SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for i = 2, #ARGV, 3 do
  local ready = prefix .. 'ready:' .. ARGV[i]
  redis.call('ZADD', ready, 'LT', now + tonumber(ARGV[i + 1]), ARGV[i + 2])
end
if redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[1]) then return 1 end
return 0
"""

# Of the turns of a pop, what the lanes under the high one may count on while an owner waits there.
_SHARES: Final = (0.0, 1 / 4, 1 / 8)

# ARGV: most owners to pop, bell ms (0: leave the bell), probe ms, turns kept for the normal and for
# the bulk lane, then owners whose turns are left to others. What a lane leaves goes to the others,
# high first. An owner on hold goes back with the rest of its hold. One whose circuit is open and
# whose pause is over is on hold again at once: this turn is its only probe.
_POP_SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local left = tonumber(ARGV[1])
local normal, bulk = tonumber(ARGV[4]), tonumber(ARGV[5])
local out, avoided = {}, {}
for i = 6, #ARGV do avoided[ARGV[i]] = true end
if ARGV[2] ~= '0' then redis.call('SET', KEYS[1], '1', 'PX', ARGV[2]) end
local function take(lane, most)
  if most <= 0 then return end
  local key = prefix .. 'ready:' .. lane
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, most + #ARGV - 5)
  for _, owner in ipairs(due) do
    if most <= 0 then break end
    local hold_key = prefix .. 'hold:' .. owner
    local hold = redis.call('PTTL', hold_key)
    if avoided[owner] then
      -- It stays where it is, for a worker that can send it.
    elseif hold > 0 then
      redis.call('ZADD', key, now + hold, owner)
    else
      local is_probe = redis.call('EXISTS', prefix .. 'circuit:' .. owner)
      if is_probe == 1 then redis.call('SET', hold_key, '1', 'PX', ARGV[3]) end
      redis.call('ZREM', key, owner)
      out[#out + 1] = lane
      out[#out + 1] = owner
      out[#out + 1] = is_probe
      most = most - 1
      left = left - 1
    end
  end
end
take(0, left - normal - bulk)
take(1, left - bulk)
take(2, left)
take(0, left)
take(1, left)
return out
"""

Turn = tuple[int, UUID]  # (lane, owner id)


class Popped(NamedTuple):
    """`probes`: owners with an open circuit, which may try one thing to find out if they can."""

    turns: list[Turn]
    probes: frozenset[UUID]


class Doorbell:
    """Rings once for all that wait meanwhile; enqueues from a thread, for RQ is synchronous."""

    def __init__(
        self, client: redis.asyncio.Redis, redis_url: str, queue: WorkQueue = MESSAGES
    ) -> None:
        self._names = queue
        self._ring_script = client.register_script(queue.script(_RING_SCRIPT))
        self._redis: redis.Redis = redis.Redis.from_url(
            redis_url, socket_timeout=5, socket_connect_timeout=2
        )
        self._queue = Queue(queue.rq_queue, connection=self._redis, serializer=JSONSerializer)
        self._waiting: dict[Turn, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._outage = OutageLog("doorbell.unreachable")
        self._alarms: dict[int, tuple[set[Turn], asyncio.TimerHandle]] = {}

    def ring(self, turns: Iterable[Turn], *, delay_ms: int = 0) -> None:
        """Say that these owners have something due in `delay_ms`; returns at once.

        A short delay ends with another ring, so that several delays of one owner all count.
        """
        turns = list(turns)
        if 0 < delay_ms <= _ALARM_MS:
            self._set_alarm(turns, delay_ms)
            return
        for turn in turns:
            self._waiting[turn] = min(delay_ms, self._waiting.get(turn, delay_ms))
        if self._task is None and self._waiting:
            self._task = asyncio.create_task(self._run(), name="doorbell")

    def _set_alarm(self, turns: list[Turn], delay_ms: int) -> None:
        loop = asyncio.get_running_loop()
        step = int((loop.time() * 1000 + delay_ms) // _ALARM_STEP_MS) + 1
        alarm = self._alarms.get(step)
        if alarm is None:
            timer = loop.call_at(step * _ALARM_STEP_MS / 1000, self._alarm, step)
            self._alarms[step] = (set(turns), timer)
        else:
            alarm[0].update(turns)

    def _alarm(self, step: int) -> None:
        turns, _ = self._alarms.pop(step)
        self.ring(turns)

    async def drain(self) -> None:
        """Wait until everything rung so far has reached Redis, or failed to."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def call_for_help(self) -> None:
        """Enqueue one more drain job when none waits: this worker is full and there is more."""
        try:
            await asyncio.to_thread(self._enqueue_if_none)
        except Exception as exc:  # noqa: BLE001 (the sweeper rings again)
            self._outage.warn(exc)

    def close(self) -> None:
        for _, timer in self._alarms.values():
            timer.cancel()
        self._alarms.clear()
        self._redis.close()

    async def _run(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                try:
                    await self._ring_now(waiting)
                except Exception as exc:  # noqa: BLE001 (the sweeper rings again)
                    self._outage.warn(exc, connectors=len(waiting))
        finally:
            self._task = None

    async def _ring_now(self, waiting: dict[Turn, int]) -> None:
        arguments: list[Any] = [_BELL_MS]
        for (lane, owner_id), delay_ms in waiting.items():
            arguments += (lane, delay_ms, owner_id.hex)
        if await self._ring_script(keys=[self._names.bell], args=arguments):
            await asyncio.to_thread(self._enqueue_if_none)

    def _enqueue_if_none(self) -> None:
        # One waiting job wakes a worker as well as ten do; without workers they would pile up.
        if self._queue.count == 0:
            self._queue.enqueue(
                self._names.drain_job,
                job_timeout=60,
                result_ttl=0,
                failure_ttl=_JOB_TTL_S,
                ttl=_JOB_TTL_S,
            )


_NO_TURNS: Final = Popped([], frozenset())


class ReadySet:
    """The worker's side: whose turn it is, and who has to wait."""

    def __init__(self, client: redis.asyncio.Redis, queue: WorkQueue = MESSAGES) -> None:
        self._redis = client
        self._names = queue
        self._pop_script = client.register_script(queue.script(_POP_SCRIPT))
        # By lane, in turns. Bulk begins ahead, so that in pops of one it does not fall due together
        # with normal.
        self._owed = [0.0, 0.0, 1 / 8]

    async def pop(self, most: int, *, keep_bell: bool = True, avoid: Iterable[UUID] = ()) -> Popped:
        """Take up to `most` owners whose turn it is, high lane first, and none of `avoid`.

        A backlog in the high lane leaves the others their shares. `keep_bell`: this worker will
        look again, so a ring need not enqueue a job.
        """
        owed = [self._owed[lane] + most * share for lane, share in enumerate(_SHARES)]
        normal = int(owed[1])
        kept = (0, normal, min(int(owed[2]), most - normal))
        arguments = [
            most,
            _BELL_MS if keep_bell else 0,
            PROBE_MS,
            *kept[1:],
            *(owner_id.hex for owner_id in avoid),
        ]
        raw: list[Any] = await self._pop_script(keys=[self._names.bell], args=arguments)
        if not raw:
            return _NO_TURNS
        turns = [(int(raw[i]), UUID(hex=raw[i + 1].decode())) for i in range(0, len(raw), 3)]
        probes = frozenset(turns[i // 3][1] for i in range(0, len(raw), 3) if raw[i + 2])
        for lane, turns_kept in enumerate(kept):
            taken = sum(turn[0] == lane for turn in turns)
            # A lane that leaves some of its turns has no more owners waiting: it saves none up.
            self._owed[lane] = max(0.0, owed[lane] - taken) if taken >= turns_kept else 0.0
        return Popped(sorted(turns, key=lambda turn: turn[0]), probes)

    async def waited_s(self, owner_id: UUID) -> float:
        """Return how long this owner's turn has been left untaken; 0 when it isn't its turn."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for lane in range(LANE_COUNT):
                pipeline.zscore(self._names.ready(lane), owner_id.hex)
            (seconds, microseconds), *scores = await pipeline.execute()
        now_s = seconds + microseconds / 1_000_000
        return max((now_s - score / 1000 for score in scores if score is not None), default=0.0)

    async def release_bell(self) -> None:
        """From here on a ring enqueues a job again; look at the set again after this."""
        await self._redis.delete(self._names.bell)

    async def hold(self, owner_id: UUID, seconds: float) -> None:
        """Give this owner no turn for `seconds`; a longer hold stays."""
        name = self._names.hold(owner_id)
        milliseconds = max(1, int(seconds * 1000))
        await self._redis.set(name, "1", px=milliseconds, nx=True)
        await self._redis.pexpire(name, milliseconds, gt=True)

    async def lift_hold(self, owner_id: UUID) -> None:
        await self._redis.delete(self._names.hold(owner_id))
