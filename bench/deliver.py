"""deliver: messages a second handed to a fake provider, compared with bare aiohttp on uvloop."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack
from typing import Any, Final

import aiohttp
import orjson
import uvloop

from backend.ids import new_id
from backend.ledger.accept import NewMessage
from backend.platform import Platform
from backend.settings import Settings
from bench import stage

IN_FLIGHT: Final = 400
_PATIENCE_S: Final = 120.0
_HEADERS: Final = {"Accept": "application/json", "Content-Type": "application/json"}


def run(*, count: int, workers: tuple[int, ...] = (1, 2)) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    with stage.servers():
        for latency_ms in (0, 100):
            with stage.fake_provider(latency_ms) as port:
                limit = max(
                    uvloop.run(_post_all(port, count, in_flight)) for in_flight in (100, IN_FLIGHT)
                )
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


async def _post_all(port: int, count: int, in_flight: int) -> float:
    """Return the rate of a client that only posts: the most that a worker on aiohttp can reach."""
    url = f"http://127.0.0.1:{port}/bot1:a/sendMessage"
    serials = iter(range(count))
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def post_in_turn() -> None:
            for serial in serials:
                body = orjson.dumps({"chat_id": "42", "text": f"Code {serial:010d}"})
                async with session.post(url, data=body, headers=_HEADERS) as answer:
                    orjson.loads(await answer.read())

        started = time.monotonic()
        await asyncio.gather(*(post_in_turn() for _ in range(in_flight)))
        return count / (time.monotonic() - started)


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
