"""A request to stop is heard whenever it comes, whatever RQ is doing at that moment."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.workers.conftest import Valkey

# The signal comes when a job was taken but RQ does not call the worker busy yet: RQ raises
# StopRequested in the middle of the job, and takes that for the job's failure.
_SCRIPT = """
import signal, sys
import redis
from rq import Queue
from rq.serializers import JSONSerializer
from backend.queueing import DRAIN_JOB
from workers import process
from workers.worker import DrainWorker, Liveness

class Delivery:
    is_stop_requested = False

    def request_stop(self):
        print("asked to stop", flush=True)

    def run(self, work, timeout_s):
        print("drained", flush=True)

delivery = Delivery()
process._current.append(delivery)

class Interrupted(DrainWorker):
    delivery = delivery
    liveness = Liveness(delivery, lambda: None)

    def {method}(self, *args, **kwargs):
        if {condition}:
            self.request_stop(signal.SIGTERM, None)
        return super().{method}(*args, **kwargs)

connection = redis.Redis.from_url(sys.argv[1])
queue = Queue("test-stop", connection=connection, serializer=JSONSerializer)
queue.empty()
queue.enqueue(DRAIN_JOB)
Interrupted([queue], connection=connection, serializer=JSONSerializer).work(logging_level="ERROR")
print("ended", flush=True)
"""


@pytest.mark.parametrize(
    ("method", "condition"),
    [
        pytest.param("prepare_job_execution", "True", id="a job was just taken"),
        pytest.param("handle_job_success", "True", id="a job has just ended"),
        pytest.param("heartbeat", "self.get_state() == 'idle'", id="nothing to do"),
    ],
)
def test_a_stop_at_an_awkward_moment_is_heard(valkey: Valkey, method: str, condition: str) -> None:
    script = _SCRIPT.format(method=method, condition=condition)
    done = subprocess.run(
        [sys.executable, "-c", script, valkey.url],
        text=True,
        capture_output=True,
        timeout=15,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line != "drained"]
    assert said == ["asked to stop", "ended"], done.stderr
