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
from workers.worker import DrainWorker

class Delivery:
    def request_stop(self):
        print("asked to stop", flush=True)

class Interrupted(DrainWorker):
    delivery = Delivery()

    def {method}(self, *args, **kwargs):
        if {condition}:
            self.request_stop(signal.SIGTERM, None)
        return super().{method}(*args, **kwargs)

connection = redis.Redis.from_url(sys.argv[1])
queue = Queue("test-stop", connection=connection)
queue.empty()
queue.enqueue("time.sleep", 0)
Interrupted([queue], connection=connection).work(logging_level="ERROR")
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
        [sys.executable, "-c", script, valkey.url], text=True, capture_output=True, timeout=15, check=False
    )
    assert done.stdout.split("\n") == ["asked to stop", "ended", ""], done.stderr
