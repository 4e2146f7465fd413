"""`messagejs worker`: an RQ worker whose jobs run on the delivery loop of this process."""

from __future__ import annotations

import logging
import signal
import sys
import time
from types import FrameType
from typing import Any, Final

import redis
import structlog
from rq import Queue, SimpleWorker
from rq.timeouts import BaseDeathPenalty

from backend.outages import OutageLog
from backend.queueing import QUEUE
from backend.settings import Settings, get_settings
from workers.process import DeliveryProcess

log = structlog.get_logger()

_RECONNECT_S: Final = 1.0
_RQ_SAYS_EVERY_S: Final = 10.0
_outage = OutageLog("worker.redis_away")


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's timeout is a SIGALRM that would interrupt whatever runs; slices end by themselves."""

    def setup_death_penalty(self) -> None: ...

    def cancel_death_penalty(self) -> None: ...


class SayOnce(logging.Filter):
    """RQ tells of Redis being away at each of its tries, with tracebacks: once in ten seconds is enough."""

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


class DrainWorker(SimpleWorker):
    """A SimpleWorker that is back within two seconds of Redis, and stops without waiting for a slice."""

    death_penalty_class = NoDeathPenalty
    max_connection_wait_time = 2
    delivery: DeliveryProcess

    def subscribe(self) -> None:
        """Take no commands through Redis: nobody gives any, and the thread for them would outlive each outage."""

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self.delivery.request_stop()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # RQ annotates half of it


def main(settings: Settings | None = None) -> None:
    """Work until SIGTERM or SIGINT, then let sends under way end."""
    settings = settings or get_settings()
    _end_on_signals()
    delivery = DeliveryProcess(settings)
    delivery.start()
    logging.getLogger("rq.worker").addFilter(SayOnce())
    log.info("worker.started", concurrency=settings.delivery_concurrency)
    try:
        while _work(settings, delivery):
            _end_on_signals()
            time.sleep(_RECONNECT_S)
    finally:
        delivery.stop()
        log.info("worker.stopped")


def _end_on_signals() -> None:
    """Until RQ sets its handlers, and while Redis is away, a request to stop ends the process in order too."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit())


def _work(settings: Settings, delivery: DeliveryProcess) -> bool:
    """Return True when Redis went away and the work should be taken up again."""
    connection: Any = redis.Redis.from_url(settings.require_redis_url(), socket_connect_timeout=2)
    try:
        # No name of our own: after a kill -9 RQ refuses a name until its entry expires.
        worker = DrainWorker([Queue(QUEUE, connection=connection)], connection=connection, log_job_description=False)
        worker.delivery = delivery
        worker.work(logging_level="WARNING")
    except (redis.RedisError, OSError) as exc:
        _outage.warn(exc)
        # RQ's handler may have taken the signal while RQ was still connecting.
        return not delivery.is_stop_requested
    finally:
        connection.close()
    return False
