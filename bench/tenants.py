"""tenants: does a small tenant wait? First behind ten thousand others, then behind a large one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from backend.ids import new_id
from backend.models import Connector
from backend.models.recordset import recordset
from backend.models.send_queue import DUE, LANES
from backend.platform import Platform
from backend.services.connectors.credentials import check_credentials, seal
from backend.settings import Settings
from bench import stage

_PATIENCE_S: Final = 120.0
_RATE: Final = 10.0  # the small tenant's messages a second
_STEP: Final = 50_000


@dataclass(frozen=True, slots=True)
class _Queued:
    """A message to write with its row in the queue."""

    id: UUID
    connector_id: UUID
    serial: int


# Messages with their rows in the queue, all due now in the normal lane.
_QUEUE: Final = f"""
WITH rows AS MATERIALIZED (
    SELECT r.* FROM {recordset(_Queued, "r")}
), written AS (
    INSERT INTO messages (id, project_id, connector_id, connector_type, mode, recipient, content,
        status, priority, on_uncertain, attempts, created_at, updated_at)
    SELECT id, %(project)s, connector_id, 'telegram', 'live', '42',
        jsonb_build_object('text', %(text)s || ' ' || lpad(serial::text, 10, '0')),
        'queued', 'normal', 'hold', 0, now(), now()
    FROM rows
)
INSERT INTO send_queue (message_id, project_id, connector_id, lane, state, tries, due_at)
SELECT id, %(project)s, connector_id, {LANES["normal"]}, {DUE}, 0, now() FROM rows
"""  # noqa: S608 (constants)


def run(*, connectors: int, backlog: int, seconds: float) -> dict[str, Any]:
    with stage.servers():
        rows = [_many(connectors), *_one_large(backlog, seconds)]
    return {"name": "tenants", "rows": rows}


def _many(count: int) -> dict[str, Any]:
    """Every connector has a message; a worker starts and sends them all."""
    with stage.fake_provider(0) as provider_port:
        asyncio.run(_queue_one_each(count))
        started = time.monotonic()
        with stage.worker(provider_port):
            waits = _until_arrived(provider_port, "each", count, started)
    return _row(f"1 each of {count:,}", "normal", waits, 0)


def _one_large(backlog: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Queue `backlog` messages of a connector in the normal lane, then send others' beside them.

    A small tenant's messages go through the API one at a time, by each lane; at last some of the
    large tenant's, by the high lane.
    """
    with stage.fake_provider(0) as provider_port, stage.web() as port:
        small, large = stage.seed(), asyncio.run(_queue_backlog(backlog))
        with stage.worker(provider_port) as worker:
            _until_arrived(provider_port, "backlog", min(1000, backlog), time.monotonic())
            for tenant, lane in (
                (small, "high"),
                (small, "normal"),
                (small, "bulk"),
                (large, "high"),
            ):
                memory = [stage.memory_mb(worker)]
                body = orjson.dumps({**orjson.loads(tenant.body), "priority": lane}).decode()
                waits, sent = _send_beside(port, provider_port, body, tenant.keys, seconds)
                memory.append(stage.memory_mb(worker))
                left = backlog - sum(
                    text.startswith("backlog") for _, text in stage.arrivals(provider_port)
                )
                yield {
                    **_row(
                        f"{'beside' if tenant is small else 'among'} {backlog:,}",
                        lane,
                        waits,
                        len(sent) - len(waits),
                    ),
                    "backlog left": f"{left:,}",
                    "worker MB": f"{memory[0]:.0f} -> {memory[1]:.0f}",
                }


def _send_beside(
    port: int, provider_port: int, body: str, keys: list[str], seconds: float
) -> tuple[list[float], list[int]]:
    before = len(stage.arrivals(provider_port))
    options = ("--stamps", "--connections", "1", "--seconds", str(seconds), "--rate", str(_RATE))
    report = stage.load(port, "/api/v1/messages", body, keys, *options)
    time.sleep(2)
    arrived = {
        text: instant
        for instant, text in stage.arrivals(provider_port)[before:]
        if text.startswith("Code")
    }
    accepted = report["accepted"]
    waits = [
        max(0.0, arrived[t] - at)
        for serial, at in accepted
        if (t := f"Code {serial:010d}") in arrived
    ]
    return waits, [serial for serial, _ in accepted]


def _until_arrived(port: int, text: str, count: int, started: float) -> list[float]:
    ends_at = time.monotonic() + _PATIENCE_S
    while time.monotonic() < ends_at:
        arrived = [
            instant - started for instant, words in stage.arrivals(port) if words.startswith(text)
        ]
        if len(arrived) >= count:
            return arrived
        time.sleep(1.0)
    raise TimeoutError(f"{len(arrived)} of {count} messages arrived in {_PATIENCE_S} s")


async def _queue_one_each(count: int) -> None:
    platform = await Platform.open(Settings())
    try:
        tenant = await stage.make_tenant(platform)
        connectors = await _connectors(platform, tenant, count)
        await _queue(platform, tenant, [connector.id for connector in connectors], "each")
    finally:
        await platform.close()


async def _queue_backlog(count: int) -> stage.Tenant:
    platform = await Platform.open(Settings())
    try:
        tenant = await stage.make_tenant(platform)
        for start in range(0, count, _STEP):
            size = min(_STEP, count - start)
            await _queue(platform, tenant, [tenant.connector_id] * size, f"backlog {start}")
        async with platform.database.raw.connection() as connection:
            await connection.execute("VACUUM ANALYZE send_queue")
        return tenant
    finally:
        await platform.close()


async def _connectors(platform: Platform, tenant: stage.Tenant, count: int) -> list[Connector]:
    """Add rows as create_connector() makes them, but without checks for each other."""
    connectors: list[Connector] = []
    for start in range(0, count, 1000):
        async with platform.database.transaction() as session:
            for number in range(start, min(start + 1000, count)):
                credentials = check_credentials(
                    "telegram", {"botToken": f"{number + 1}:{'bench-token-':-<35}"}
                )
                connector = Connector(
                    project_id=tenant.project_id,
                    type="telegram",
                    name=f"{number}",
                    credentials_encrypted="",
                    config={"pacing": {"perSecond": None, "perRecipientPerSecond": None}},
                )
                connector.credentials_encrypted = seal(platform.vault, connector.id, credentials)
                session.add(connector)
                connectors.append(connector)
    return connectors


async def _queue(
    platform: Platform, tenant: stage.Tenant, connector_ids: list[UUID], text: str
) -> None:
    """Queue a message in the normal lane for each of `connector_ids`."""
    rows = [
        _Queued(new_id(), connector_id, serial) for serial, connector_id in enumerate(connector_ids)
    ]
    values = {"rows": orjson.dumps(rows).decode(), "project": tenant.project_id, "text": text}
    async with platform.database.raw.connection() as connection:
        await connection.execute(_QUEUE, values)


def _row(what: str, lane: str, waits: list[float], missing: int) -> dict[str, Any]:
    return {
        "what": what,
        "lane": lane,
        "messages": len(waits),
        "missing": missing,
        "p50 ms": round(stage.percentile(waits, 0.5) * 1000, 1),
        "p95 ms": round(stage.percentile(waits, 0.95) * 1000, 1),
        "p99 ms": round(stage.percentile(waits, 0.99) * 1000, 1),
    }
