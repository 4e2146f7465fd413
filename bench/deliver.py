"""deliver: messages a second handed to a fake provider, compared with bare aiohttp on uvloop."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack
from typing import Any, Final

import aiohttp
import orjson
import yarl

from backend.ids import new_id
from backend.ledger.accept import NewMessage
from backend.platform import Platform
from backend.providers.frame.http import JSON_HEADERS
from backend.settings import Settings
from bench import stage
from workers.event_loop import new_event_loop

IN_FLIGHT: Final = 400
_PATIENCE_S: Final = 120.0
_HEADERS: Final = {"Accept": "application/json", "Content-Type": "application/json"}


def run(*, count: int, workers: tuple[int, ...] = (1, 2)) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    with stage.servers():
        for latency_ms in (0, 100):
            with stage.fake_provider(latency_ms) as port:
                limit = _limit(port, count)
            for number in workers:
                rate = _deliver(count, latency_ms, number)
                rows.append(
                    {
                        "latency ms": latency_ms,
                        "workers": number,
                        "limit/s": round(limit),
                        "deliver/s": round(rate),
                        "ratio": round(rate / limit, 3),
                    }
                )
    return {"name": "deliver", "messages": count, "rows": rows}


async def _raw_loop(port: int, count: int, most: int) -> float:
    """Post as fast as bare aiohttp can, with nothing else to do."""
    url = yarl.URL(f"http://127.0.0.1:{port}/bot1:a/sendMessage")
    left = iter(range(count))

    async def post_all(session: aiohttp.ClientSession) -> None:
        for serial in left:
            body = orjson.dumps({"chat_id": "42", "text": f"Code {serial:010d}"})
            async with session.post(url, data=body, headers=JSON_HEADERS) as answer:
                orjson.loads(await answer.read())

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=most)) as session:
        started = time.monotonic()
        await asyncio.gather(*(post_all(session) for _ in range(most)))
        return count / (time.monotonic() - started)


def _limit(port: int, count: int) -> float:
    """Return the messages a second that bare aiohttp on uvloop posts, the loop of a worker."""
    rates = []
    for most in (100, IN_FLIGHT):
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            rates.append(runner.run(_raw_loop(port, count, most)))
    return max(rates)


def _deliver(count: int, latency_ms: float, workers: int) -> float:
    """Queue `count` messages, start the workers, and time the first to the last arrival."""
    with stage.fake_provider(latency_ms) as port:
        environment = {
            "TELEGRAM_API_URL": f"http://127.0.0.1:{port}/bot",
            "DELIVERY_CONCURRENCY": str(IN_FLIGHT),
        }
        asyncio.run(_queue(count))
        command = (sys.executable, "-m", "backend.runtime.cli", "worker")
        with ExitStack() as stack:
            for _ in range(workers):
                stack.enter_context(stage.process(*command, **environment))
            return _rate(port, count)


def _rate(port: int, count: int) -> float:
    ends_at = time.monotonic() + _PATIENCE_S
    while time.monotonic() < ends_at:
        time.sleep(1.0)
        arrived = stage.arrivals(port)
        if len(arrived) >= count:
            texts = {text for _, text in arrived}
            if len(texts) != count or len(arrived) != count:
                raise AssertionError(
                    f"{len(arrived)} arrivals of {len(texts)} messages; {count} were queued"
                )
            instants = sorted(instant for instant, _ in arrived)
            return (count - 1) / (instants[-1] - instants[0])
    raise TimeoutError(
        f"{len(stage.arrivals(port))} of {count} messages arrived in {_PATIENCE_S} s"
    )


async def _queue(count: int) -> None:
    platform = await Platform.open(Settings())
    try:
        tenant = await stage.make_tenant(platform)
        for start in range(0, count, 1000):
            await asyncio.gather(
                *(
                    platform.writer.write(_message(tenant, serial))
                    for serial in range(start, min(start + 1000, count))
                )
            )
    finally:
        await platform.close()


def _message(tenant: stage.Tenant, serial: int) -> NewMessage:
    columns = {
        "connector_type": "telegram",
        "mode": "live",
        "recipient": "42",
        "content": {"text": f"Code {serial:010d}"},
        "status": "queued",
        "priority": "normal",
        "on_uncertain": "hold",
    }
    return NewMessage(new_id(), tenant.project_id, tenant.connector_id, 1, columns)
