"""growth: lists, detail, analytics, accept and claim with many messages in the project, beside the empty table."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import httpx
import structlog
from sqlalchemy import text

from backend import ids
from backend.api.app import create_api
from backend.ids import new_id
from backend.models.partitions import partition_statements
from backend.services.delivery.claims import Claims
from backend.services.platform import Platform
from backend.services.reporting.rollups import RollupFolder
from backend.services.sending.accept import Caller, SendRequest, accept_message
from backend.settings import Settings
from bench import stage

DAYS: Final = 30
_STEP: Final = 50_000
RARE_KEY: Final = new_id()
RARE_TEMPLATE: Final = new_id()

# Of a thousand messages: 2 in each rare state, 50 failed, and so on; of 100,000 one has the rare key and template.
_FILL: Final = """
INSERT INTO messages (id, project_id, key_id, connector_id, connector_type, template_id, template_version, mode,
    recipient, content, status, priority, on_uncertain, attempts, error_code, error_reason, sent_at, delivered_at,
    created_at, updated_at)
SELECT
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid,
    :project, CASE WHEN n % 100000 = 7 THEN :rare_key ELSE :key END, :connector, 'telegram',
    CASE WHEN n % 100000 = 7 THEN :rare_template ELSE :template END, 1,
    CASE WHEN n % 50 = 0 THEN 'test' ELSE 'live' END, '+1415' || lpad((n * 7919 % 10000000)::text, 7, '0'),
    jsonb_build_object('text', 'Your code is ' || n), s.status, 'normal', 'hold', 1,
    CASE WHEN s.status = 'failed' THEN 'CHAT_NOT_FOUND' END, CASE WHEN s.status = 'failed' THEN 'chat not found' END,
    at + interval '1 second', CASE WHEN s.status IN ('delivered', 'read') THEN at + interval '3 seconds' END, at, at
FROM (SELECT n, CAST(:start AS timestamptz) + make_interval(secs => n * CAST(:every_s AS float8)) AS at
      FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n) numbered
CROSS JOIN LATERAL (SELECT CASE
    WHEN n % 100000 = 99 THEN 'canceled' WHEN n % 1000 < 2 THEN 'undelivered' WHEN n % 1000 < 52 THEN 'failed'
    WHEN n % 1000 < 200 THEN 'sent' WHEN n % 1000 < 300 THEN 'read' ELSE 'delivered' END AS status) s
"""


def run(*, rows: int, calls: int) -> dict[str, Any]:
    with stage.servers():
        return asyncio.run(_run(rows, calls))


async def _run(rows: int, calls: int) -> dict[str, Any]:
    # Every request would be a line between the table's.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    app = create_api(Settings())
    async with app.router.lifespan_context(app):
        platform: Platform = app.state.platform
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://bench.local", timeout=60) as client:
            empty = await _Run.make(platform, client)
            before = await empty.measure(calls)
            full = await _Run.make(platform, client)
            started = time.monotonic()
            await full.fill(rows)
            filled_s = time.monotonic() - started
            after = await full.measure(calls)
    table = [
        {
            "what": what,
            "empty p50 ms": _ms(before[what], 0.5),
            "empty p95 ms": _ms(before[what], 0.95),
            f"{rows:,} p50 ms": _ms(times, 0.5),
            f"{rows:,} p95 ms": _ms(times, 0.95),
        }
        for what, times in after.items()
    ]
    return {"name": f"growth, {rows:,} messages in the project", "rows": table, "filled in s": round(filled_s)}


def _ms(times: list[float], share: float) -> float:
    return round(stage.percentile(times, share) * 1000, 1)


class _Run:
    """One project, empty or full, and what is asked of it."""

    def __init__(self, platform: Platform, client: httpx.AsyncClient, tenant: stage.Tenant, key_id: UUID) -> None:
        self._platform = platform
        self._client = client
        self._tenant = tenant
        self._key_id = key_id
        self._ids: list[str] = []
        self._recipients: list[str] = []

    @classmethod
    async def make(cls, platform: Platform, client: httpx.AsyncClient) -> _Run:
        tenant = await stage.make_tenant(platform, rate_limit=None)
        async with platform.database.transaction() as session:
            connection = await session.connection()
            changed = await connection.execute(
                text("UPDATE api_keys SET scopes = :scopes WHERE project_id = :project RETURNING id"),
                {"scopes": '["messages:send", "messages:read", "stats:read"]', "project": tenant.project_id},
            )
            key_id: UUID = changed.scalar_one()
        run = cls(platform, client, tenant, key_id)
        run._ids = [ids.encode(ids.MESSAGE, await run._accept())]
        return run

    async def _accept(self) -> UUID:
        request = SendRequest(to="42", text="hello", connector_id=self._tenant.connector_id)
        return (await accept_message(self._platform, Caller(self._tenant.project_id, "live"), request)).message_id

    async def fill(self, rows: int) -> None:
        start = datetime.now(UTC) - timedelta(days=DAYS)
        values = {
            "project": self._tenant.project_id,
            "connector": self._tenant.connector_id,
            "template": self._tenant.template_id,
            "key": self._key_id,
            "rare_key": RARE_KEY,
            "rare_template": RARE_TEMPLATE,
            "start": start,
            "every_s": DAYS * 24 * 3600 / rows,
        }
        raw = self._platform.database.raw
        folder = RollupFolder(raw)
        async with raw.connection() as connection:
            for statement in partition_statements(start):
                await connection.execute(statement)
        for first in range(1, rows + 1, _STEP):
            async with self._platform.database.transaction() as session:
                await (await session.connection()).execute(
                    text(_FILL), {**values, "first": first, "last": min(rows, first + _STEP - 1)}
                )
            await folder.fold()
        async with raw.connection() as connection:
            await connection.execute("VACUUM ANALYZE messages")
            await connection.execute("VACUUM ANALYZE message_rollups")
            cursor = await connection.execute(
                "SELECT id, recipient FROM messages TABLESAMPLE SYSTEM (0.1) WHERE project_id = %s LIMIT 300",
                (self._tenant.project_id,),
            )
            sample = await cursor.fetchall()
        self._ids = [ids.encode(ids.MESSAGE, row[0]) for row in sample]
        listed = await self._get("/api/v1/messages", limit=1)
        if listed["pagination"]["total"] != rows + 1:
            raise RuntimeError(f"filled in {rows} messages, but the list has {listed['pagination']['total']}")
        self._recipients = [row[1] for row in sample]

    async def measure(self, calls: int) -> dict[str, list[float]]:
        times: dict[str, list[float]] = {}
        for what, call in (*self._lists().items(), *self._others().items()):
            await call()
            times[what] = [await _timed(call) for _ in range(calls)]
        return times

    def _lists(self) -> dict[str, Callable[[], Awaitable[object]]]:
        day = f"{datetime.now(UTC) - timedelta(days=DAYS // 2):%Y-%m-%d}"
        template = ids.encode(ids.TEMPLATE, self._tenant.template_id)
        filters: dict[str, dict[str, Any]] = {
            "list": {},
            "list, offset 10,000": {"offset": 10_000},
            "list: delivered": {"status": "delivered"},
            "list: failed (5 %)": {"status": "failed"},
            "list: canceled (1 in 100,000)": {"status": "canceled"},
            "list: expired (none)": {"status": "expired"},
            "list: pending": {"status": "pending"},
            "list: connector": {"connector": "telegram"},
            "list: connector (none)": {"connector": "smtp"},
            "list: one day": {"from": day, "to": day},
            "list: one day, failed": {"from": day, "to": day, "status": "failed"},
            "list: key": {"keyId": ids.encode(ids.KEY, self._key_id)},
            "list: key (1 in 100,000)": {"keyId": ids.encode(ids.KEY, RARE_KEY)},
            "list: template": {"templateId": template},
            "list: template, canceled": {"templateId": template, "status": "canceled"},
            "list: template (1 in 100,000)": {"templateId": ids.encode(ids.TEMPLATE, RARE_TEMPLATE)},
            "list: mode test (2 %)": {"mode": "test"},
        }
        return {what: lambda p=params: self._get("/api/v1/messages", **p) for what, params in filters.items()}  # type: ignore[misc]

    def _others(self) -> dict[str, Callable[[], Awaitable[object]]]:
        async def recipient() -> None:
            to = random.choice(self._recipients) if self._recipients else "+14155550100"
            await self._get("/api/v1/messages", recipient=to)

        async def detail() -> None:
            await self._get(f"/api/v1/messages/{random.choice(self._ids)}")

        claims = Claims(self._platform.database.raw, lease_s=30)
        analytics = {"projectId": ids.encode(ids.PROJECT, self._tenant.project_id)}
        return {
            "list: recipient": recipient,
            "detail": detail,
            "analytics: messages": lambda: self._get("/api/v1/analytics/messages", **analytics),
            "analytics: usage": lambda: self._get("/api/v1/analytics/usage", **analytics),
            "analytics: connectors": lambda: self._get("/api/v1/analytics/connectors", **analytics),
            "accept": self._accept,
            "claim": lambda: claims.take([(1, self._tenant.connector_id)], 1),
        }

    async def _get(self, path: str, **params: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._tenant.keys[0]}"}
        response = await self._client.get(path, params=params, headers=headers)
        if response.status_code != 200:
            raise RuntimeError(f"{path} {params}: {response.status_code} {response.text[:300]}")
        return response.json()


async def _timed(call: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started
