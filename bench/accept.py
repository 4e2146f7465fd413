"""accept: accepted sends a second and their latency, compared with the bare route."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from backend.platform import Platform
from backend.settings import Settings
from bench import stage

CONNECTIONS = (1, 32, 256)


def run(*, seconds: float, keys: int = 1) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    with stage.servers():
        tenant = stage.seed(keys=keys)
        for connections in CONNECTIONS:
            options = ("--connections", str(connections), "--seconds", str(seconds))
            with stage.bare() as port:
                stage.load(
                    port,
                    "/messages",
                    tenant.body,
                    tenant.keys,
                    "--connections",
                    "8",
                    "--seconds",
                    "1",
                )
                bare = stage.load(port, "/messages", tenant.body, tenant.keys, *options)
            with stage.web() as port:
                path = "/api/v1/messages"
                stage.load(
                    port, path, tenant.body, tenant.keys, "--connections", "8", "--seconds", "1"
                )
                sends = stage.load(port, path, tenant.body, tenant.keys, *options)
            rows.append(_row(connections, bare, sends))
        report: dict[str, Any] = {"name": f"accept, {keys} keys in turn", "rows": rows}
        if keys > 1:
            report["key authentication p95 ms"] = asyncio.run(_authentication_ms(tenant.keys))
    return report


async def _authentication_ms(keys: list[str]) -> float:
    """Return the p95 of looking up keys that aren't in a cache, one at a time."""
    platform = await Platform.open(Settings())
    await platform.catalog.key(keys[0])  # opens the connection
    times: list[float] = []
    for key in random.sample(keys, min(1000, len(keys))):
        started = time.perf_counter()
        await platform.catalog.key(key)
        times.append(time.perf_counter() - started)
    await platform.close()
    return round(stage.percentile(times, 0.95) * 1000, 2)


def _row(connections: int, bare: dict[str, Any], sends: dict[str, Any]) -> dict[str, Any]:
    bare_rate = len(bare["latencies_s"]) / bare["elapsed_s"]
    rate = len(sends["latencies_s"]) / sends["elapsed_s"]
    return {
        "connections": connections,
        "bare/s": round(bare_rate),
        "accept/s": round(rate),
        "ratio": round(rate / bare_rate, 3),
        "p50 ms": round(stage.percentile(sends["latencies_s"], 0.5) * 1000, 2),
        "p95 ms": round(stage.percentile(sends["latencies_s"], 0.95) * 1000, 2),
        "p99 ms": round(stage.percentile(sends["latencies_s"], 0.99) * 1000, 2),
        "errors": sum(sends["errors"].values()),
    }
