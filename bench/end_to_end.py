"""end_to_end: accept and deliver at once; the time from the 202 to the provider, idle and busy."""

from __future__ import annotations

import time
from typing import Any

from bench import stage

_SETTLE_S = 20.0


def run(*, seconds: float, rate: float, idle_rate: float = 5.0) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    with stage.servers():
        for name, per_second, length_s in (
            ("idle", idle_rate, min(seconds, 20.0)),
            ("sustained", rate, seconds),
        ):
            with stage.fake_provider(0) as provider_port:
                tenant = stage.seed()
                with stage.web() as port, stage.worker(provider_port) as worker:
                    path = "/api/v1/messages"
                    stage.load(
                        port, path, tenant.body, tenant.keys, "--connections", "1", "--count", "20"
                    )
                    time.sleep(2)
                    before, memory_mb = len(stage.arrivals(provider_port)), stage.memory_mb(worker)
                    report = stage.load(
                        port,
                        path,
                        tenant.body,
                        tenant.keys,
                        "--stamps",
                        "--connections",
                        "32" if per_second > 100 else "1",
                        "--seconds",
                        str(length_s),
                        "--rate",
                        str(per_second),
                    )
                    row = _row(name, per_second, report, _settled(provider_port, before, report))
                    rows.append(
                        {**row, "worker MB": f"{memory_mb:.0f} -> {stage.memory_mb(worker):.0f}"}
                    )
    return {"name": "end_to_end", "rows": rows}


def _settled(port: int, before: int, report: dict[str, Any]) -> list[tuple[float, str]]:
    """Wait for the last accepted message to arrive; return what came after the warm-up."""
    ends_at = time.monotonic() + _SETTLE_S
    while time.monotonic() < ends_at:
        arrived = stage.arrivals(port)[before:]
        if len(arrived) >= len(report["accepted"]):
            break
        time.sleep(0.5)
    return arrived


def _row(
    name: str, rate: float, report: dict[str, Any], arrived: list[tuple[float, str]]
) -> dict[str, Any]:
    by_text = {text: instant for instant, text in arrived}
    # A message may reach the provider before its 202 reaches the client: that counts as no time.
    waits = [
        max(0.0, by_text[text] - instant)
        for serial, instant in report["accepted"]
        if (text := f"Code {serial:010d}") in by_text
    ]
    return {
        "phase": name,
        "asked/s": rate,
        "accepted/s": round(len(report["accepted"]) / report["elapsed_s"], 1),
        "delivered": len(waits),
        "missing": len(report["accepted"]) - len(waits),
        "p50 ms": round(stage.percentile(waits, 0.5) * 1000, 1),
        "p95 ms": round(stage.percentile(waits, 0.95) * 1000, 1),
        "p99 ms": round(stage.percentile(waits, 0.99) * 1000, 1),
    }
