"""`messagejs worker`: an RQ worker whose jobs run on the delivery loop of this process.

It runs `workers.jobs.drain` and nothing else: a job is JSON, and one that names another function, a
callback or arguments is dropped before anything of it is imported.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Protocol

import redis
import structlog
from rq import Queue, SimpleWorker
from rq.exceptions import DeserializationError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty

from backend.outages import OutageLog
from backend.queueing import DRAIN_JOB, QUEUE
from backend.settings import Settings, get_settings
from workers.process import DeliveryProcess

log = structlog.get_logger()

_RECONNECT_S: Final = 1.0
_RQ_SAYS_EVERY_S: Final = 10.0
_outage = OutageLog("worker.redis_away")
# RQ waits for a job for fifteen seconds less, and then reports that it is alive.
_RQ_TTL_S: Final = 60
_BEAT_EVERY_S: Final = 1.0
# RQ's thread hangs when it has said nothing for this many beats: its longest waits take less than a
# minute.
_RQ_SILENCE_BEATS: Final = 180


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's timeout is a SIGALRM that would interrupt whatever runs; slices end by themselves."""

    def setup_death_penalty(self) -> None: ...

    def cancel_death_penalty(self) -> None: ...


class SayOnce(logging.Filter):
    """RQ logs that Redis is down at each of its tries, with tracebacks: once in ten seconds is
    enough.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said_at = -_RQ_SAYS_EVERY_S

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, redis.RedisError):
            record.exc_info = None
        elif not any(isinstance(argument, redis.RedisError) for argument in record.args or ()):
            return True
        now = time.monotonic()
        if now - self._said_at < _RQ_SAYS_EVERY_S:
            return False
        self._said_at = now
        return True


class Stoppable(Protocol):
    """What may have been asked to stop."""

    is_stop_requested: bool


class Liveness:
    """Beats from the delivery loop while RQ's thread moves, too."""

    def __init__(
        self,
        delivery: Stoppable,
        beat: Callable[[], None],
        *,
        every_s: float = _BEAT_EVERY_S,
        silence_beats: int = _RQ_SILENCE_BEATS,
    ) -> None:
        self._delivery = delivery
        self._beat = beat
        self._every_s = every_s
        self._silence_beats = silence_beats
        self._beats_since_move = 0

    def moved(self) -> None:
        """RQ's thread did something."""
        self._beats_since_move = 0

    async def keep_beating(self) -> None:
        while True:
            # A stop takes the grace that it was given, and RQ's thread waits for its end.
            if self._beats_since_move < self._silence_beats or self._delivery.is_stop_requested:
                self._beat()
            self._beats_since_move += 1
            await asyncio.sleep(self._every_s)


class DrainWorker(SimpleWorker):
    """A SimpleWorker that works again two seconds after Redis is back, and stops without waiting
    for a slice.
    """

    death_penalty_class = NoDeathPenalty
    max_connection_wait_time = 2
    delivery: DeliveryProcess
    liveness: Liveness

    def subscribe(self) -> None:
        """Take no commands through Redis: there are none, and the thread for them would outlive
        each outage.
        """

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.delivery.request_stop()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # RQ annotates half of it

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        self.liveness.moved()
        super().heartbeat(*args, **kwargs)

    def execute_job(self, job: Job, queue: Queue) -> None:
        if is_drain(job):
            super().execute_job(job, queue)
            return
        log.warning("worker.job_refused", job=job.id[:80], function=_function(job)[:80])
        job.delete()


def is_drain(job: Job) -> bool:
    """Tell whether a job is ours; imports nothing."""
    named = (
        job._success_callback_name,  # noqa: SLF001 (the properties import)
        job._failure_callback_name,  # noqa: SLF001 (the properties import)
        job._stopped_callback_name,  # noqa: SLF001 (the properties import)
    )
    if any(named) or job.webhooks:
        return False
    try:
        return job.func_name == DRAIN_JOB and not (job.instance or job.args or job.kwargs)
    except DeserializationError:
        return False


def _function(job: Job) -> str:
    try:
        return str(job.func_name)
    except DeserializationError:
        return "(not JSON)"


def main(settings: Settings | None = None, *, beat: Callable[[], None] = lambda: None) -> None:
    """Work until SIGTERM or SIGINT, then let sends under way end; `beat` is called while the
    process is healthy.
    """
    settings = settings or get_settings()
    _end_on_signals()
    delivery = DeliveryProcess(settings)
    logging.getLogger("rq.worker").addFilter(SayOnce())
    liveness = Liveness(delivery, beat)
    delivery.start()
    # From here on a signal, whenever it comes, ends what has been started.
    try:
        delivery.keep_running("pulse", liveness.keep_beating)
        log.info("worker.started", concurrency=settings.delivery_concurrency)
        while _work(settings, delivery, liveness):
            _end_on_signals()
            time.sleep(_RECONNECT_S)
    finally:
        delivery.stop()
        log.info("worker.stopped")


def _end_on_signals() -> None:
    """Until RQ sets its handlers, and while Redis is down, a request to stop ends the process
    properly too.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit())


def _work(settings: Settings, delivery: DeliveryProcess, liveness: Liveness) -> bool:
    """Return whether to work again: always, except after a request to stop.

    RQ gives up at anything it does not know: a job that cannot be read, a Redis that does not
    answer.
    """
    liveness.moved()
    connection: Any = redis.Redis.from_url(settings.require_redis_url(), socket_connect_timeout=2)
    try:
        queue = Queue(QUEUE, connection=connection, serializer=JSONSerializer)
        # No name of our own: after a kill -9 RQ refuses a name until its entry expires.
        worker = DrainWorker(
            [queue],
            connection=connection,
            log_job_description=False,
            serializer=JSONSerializer,
            worker_ttl=_RQ_TTL_S,
        )
        worker.delivery, worker.liveness = delivery, liveness
        worker.work(logging_level="WARNING")
    except (redis.RedisError, OSError) as exc:
        _outage.warn(exc)
    finally:
        connection.close()
    # RQ's handler may have taken the signal while RQ was still connecting.
    return not delivery.is_stop_requested
