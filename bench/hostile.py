"""hostile: how long a tenant's sends take alone, and beside a hostile tenant that does all it can.

The attacker is a separate process on the same machine, so the CPU that it uses counts against us.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from bench import stage

_RATE: Final = 20.0
_WARM_UP: Final = 20
_SETTLE_S: Final = 15.0
_PATH: Final = "/api/v1/messages"


def run(*, seconds: float) -> dict[str, Any]:
    with stage.servers(), stage.fake_provider(0) as provider_port:
        tenant = stage.seed()
        with stage.web() as port, stage.worker(provider_port):
            stage.load(
                port,
                _PATH,
                tenant.body,
                tenant.keys,
                "--connections",
                "1",
                "--count",
                str(_WARM_UP),
            )
            while len(stage.arrivals(provider_port)) < _WARM_UP:  # until the worker works
                time.sleep(0.1)
            alone = _measure("alone", tenant, port, provider_port, seconds)
            with _attacker(port, seconds + 5):
                time.sleep(3)  # until it has registered
                beside = _measure("beside a hostile one", tenant, port, provider_port, seconds)
    ratios = {
        f"{name} p95, times": round(beside[f"{name} p95 ms"] / alone[f"{name} p95 ms"], 2)
        for name in ("accept", "arrive")
    }
    return {"name": "hostile", "rows": [alone, beside], **ratios}


@contextlib.contextmanager
def _attacker(port: int, seconds: float) -> Iterator[None]:
    command = (
        sys.executable,
        "-m",
        "bench.hostile_tenant",
        f"http://127.0.0.1:{port}",
        str(seconds),
    )
    child = subprocess.Popen(command)
    try:
        yield
    finally:
        if child.wait(seconds + 60) != 0:
            raise RuntimeError("the attacker failed; its output is above")


def _measure(
    what: str, tenant: stage.Tenant, port: int, provider_port: int, seconds: float
) -> dict[str, Any]:
    before = len(stage.arrivals(provider_port))
    options = ("--stamps", "--connections", "2", "--seconds", str(seconds), "--rate", str(_RATE))
    report = stage.load(port, _PATH, tenant.body, tenant.keys, *options)
    accepted = {f"Code {serial:010d}": at for serial, at in report["accepted"]}
    ends_at = time.monotonic() + _SETTLE_S
    while True:
        arrived = {
            text: at for at, text in stage.arrivals(provider_port)[before:] if text in accepted
        }
        if len(arrived) == len(accepted) or time.monotonic() > ends_at:
            break
        time.sleep(0.5)
    waits = [max(0.0, at - accepted[text]) for text, at in arrived.items()]
    latencies = report["latencies_s"]
    return {
        "what": what,
        "accepted": len(accepted),
        "refused": sum(report["errors"].values()),
        "missing": len(accepted) - len(arrived),
        **{
            f"accept p{share} ms": round(stage.percentile(latencies, share / 100) * 1000, 1)
            for share in (50, 95, 99)
        },
        **{
            f"arrive p{share} ms": round(stage.percentile(waits, share / 100) * 1000, 1)
            for share in (50, 95, 99)
        },
    }
