"""growth: lists, analytics, accept and claim in a database full of messages and in an empty one.

Both databases are on the same server, and their calls take turns, so that other load on the machine
affects both.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import httpx
import psycopg
import structlog
from pydantic import SecretStr
from sqlalchemy import text

from backend import ids
from backend.api.app import create_api
from backend.ledger.claims import Claim, Claims
from backend.ledger.recorder import Recorder
from backend.models.migrate import upgrade
from backend.platform import Platform
from backend.process.background import keep_for_good
from backend.services.delivery.outcomes import Result
from backend.services.sending.accept import Caller, SendRequest, accept_message
from backend.settings import Settings
from backend.status import Status
from bench import stage
from bench.filling import DAYS, RARE_KEY, RARE_TEMPLATE, Filling, fill

_AT_ONCE: Final = 100
_EMPTY: Final = "messagejs_bench_empty"
Call = Callable[[], Awaitable[object]]


def run(*, rows: int, calls: int) -> dict[str, Any]:
    with stage.servers():
        return asyncio.run(_run(rows, calls))


async def _run(rows: int, calls: int) -> dict[str, Any]:
    # Otherwise every request would log a line into the table.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with AsyncExitStack() as stack:
        empty_url = await stack.enter_async_context(_empty_database(Settings()))
        empty = await stack.enter_async_context(_opened(Settings(database_url=empty_url)))
        full = await stack.enter_async_context(_opened(Settings()))
        keep_for_good()  # as the processes of the product do
        started = time.monotonic()
        if rows:
            await full.fill(rows)
        filled_s = time.monotonic() - started
        table = [
            _row(rows, what, *times) for what, times in (await _measure(empty, full, calls)).items()
        ]
    return {
        "name": f"growth, {rows:,} messages in the project",
        "rows": table,
        "filled in s": round(filled_s),
    }


async def _measure(
    empty: _Side, full: _Side, calls: int
) -> dict[str, tuple[list[float], list[float]]]:
    times: dict[str, tuple[list[float], list[float]]] = {}
    others = full.calls()
    for what, call in empty.calls().items():
        pair = (call, others[what])
        for warm_up in pair:
            await warm_up()
        times[what] = ([], [])
        for turn in range(calls):
            for side in (0, 1) if turn % 2 else (1, 0):
                times[what][side].append(await _timed(pair[side]))
    return times


def _row(rows: int, what: str, empty: list[float], full: list[float]) -> dict[str, Any]:
    before, after = stage.percentile(empty, 0.5), stage.percentile(full, 0.5)
    return {
        "what": what,
        "empty p50 ms": _ms(before),
        "empty p95 ms": _ms(stage.percentile(empty, 0.95)),
        f"{rows:,} p50 ms": _ms(after),
        f"{rows:,} p95 ms": _ms(stage.percentile(full, 0.95)),
        "ratio of p50": round(after / before, 2),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


async def _timed(call: Call) -> float:
    started = time.perf_counter()
    await call()
    return time.perf_counter() - started


@asynccontextmanager
async def _empty_database(settings: Settings) -> AsyncIterator[SecretStr]:
    """Make a database beside the full one; the URL's account must be allowed to."""
    url = settings.require_database_url()
    other = urlunsplit(urlsplit(url)._replace(path=f"/{_EMPTY}"))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {_EMPTY}")
        await connection.execute(f"CREATE DATABASE {_EMPTY}")
        try:
            await asyncio.to_thread(upgrade, other)
            yield SecretStr(other)
        finally:
            await connection.execute(f"DROP DATABASE {_EMPTY} WITH (FORCE)")


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[_Side]:
    app = create_api(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://bench.local", timeout=60
        ) as client:
            yield await _Side.make(app.state.platform, client)


class _Side:
    """A project in a database with or without a history, and the calls to time."""

    def __init__(
        self, platform: Platform, client: httpx.AsyncClient, tenant: stage.Tenant, key_id: UUID
    ) -> None:
        self._platform = platform
        self._client = client
        self._tenant = tenant
        self._key_id = key_id
        self._ids: list[str] = []
        self._recipients: list[str] = []
        self._claims = Claims(platform.database.raw, lease_s=600)
        self._recorder = Recorder(platform.database.raw)
        self._claimed: list[Claim] = []

    @classmethod
    async def make(cls, platform: Platform, client: httpx.AsyncClient) -> _Side:
        tenant = await stage.make_tenant(platform, rate_limit=None)
        async with platform.database.transaction() as session:
            connection = await session.connection()
            changed = await connection.execute(
                text(
                    "UPDATE api_keys SET scopes = :scopes WHERE project_id = :project RETURNING id"
                ),
                {
                    "scopes": '["messages:send", "messages:read", "stats:read"]',
                    "project": tenant.project_id,
                },
            )
            key_id: UUID = changed.scalar_one()
        side = cls(platform, client, tenant, key_id)
        side._ids = [ids.encode(ids.MESSAGE, await side._accept())]
        return side

    async def fill(self, rows: int) -> None:
        tenant, raw = self._tenant, self._platform.database.raw
        await fill(
            raw,
            Filling(tenant.project_id, tenant.connector_id, tenant.template_id, self._key_id),
            rows,
        )
        percent = min(100.0, 30_000 / rows)  # a few hundred rows, from everywhere
        async with raw.connection() as connection:
            cursor = await connection.execute(
                "SELECT id, recipient FROM messages TABLESAMPLE SYSTEM (%s) WHERE project_id = %s"
                " LIMIT 300",
                (percent, tenant.project_id),
            )
            sample = await cursor.fetchall()
        self._ids = [ids.encode(ids.MESSAGE, row[0]) for row in sample]
        self._recipients = [row[1] for row in sample]
        listed = await self._get("/api/v1/messages", limit=1)
        if listed["pagination"]["total"] != rows + 1:
            raise RuntimeError(
                f"filled in {rows} messages, but the list has {listed['pagination']['total']}"
            )

    def calls(self) -> dict[str, Call]:
        return {**self._sends(), **self._lists(), **self._analytics()}

    def _sends(self) -> dict[str, Call]:
        """In this order: accepted messages are claimed, and claimed ones recorded."""

        async def claim(most: int) -> None:
            self._claimed += await self._claims.take([(1, self._tenant.connector_id)], most)

        async def record(most: int) -> None:
            results = [self._taken_by_provider(self._claimed.pop(0)) for _ in range(most)]
            await asyncio.gather(*(self._recorder.record(result) for result in results))

        async def accept_many() -> None:
            await asyncio.gather(*(self._accept() for _ in range(_AT_ONCE)))

        return {
            f"accept, {_AT_ONCE} at once": accept_many,
            f"claim {_AT_ONCE}": lambda: claim(_AT_ONCE),
            f"record {_AT_ONCE}": lambda: record(_AT_ONCE),
            "accept": self._accept,
            "claim": lambda: claim(1),
            "record": lambda: record(1),
        }

    def _taken_by_provider(self, claim: Claim) -> Result:
        return Result(
            claim,
            "accepted",
            datetime.now(UTC),
            1.0,
            status=Status.SENT,
            provider_message_id=str(claim.message_id),
        )

    def _lists(self) -> dict[str, Call]:
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
            "list: template (1 in 100,000)": {
                "templateId": ids.encode(ids.TEMPLATE, RARE_TEMPLATE)
            },
            "list: mode test (2 %)": {"mode": "test"},
        }

        async def recipient() -> None:
            to = random.choice(self._recipients) if self._recipients else "+14155550100"
            await self._get("/api/v1/messages", recipient=to)

        async def detail() -> None:
            await self._get(f"/api/v1/messages/{random.choice(self._ids)}")

        lists = {
            what: self._getter("/api/v1/messages", **parameters)
            for what, parameters in filters.items()
        }
        return {**lists, "list: recipient": recipient, "detail": detail}

    def _analytics(self) -> dict[str, Call]:
        project = {"projectId": ids.encode(ids.PROJECT, self._tenant.project_id)}
        messages = "/api/v1/analytics/messages"
        zones = ("UTC", "Asia/Kolkata", "Asia/Kathmandu")
        return {
            "analytics: messages": self._getter(messages, **project),
            **{
                f"analytics: by hour, {zone}": self._getter(
                    messages, **project, interval="hour", timezone=zone
                )
                for zone in zones
            },
            "analytics: usage": self._getter("/api/v1/analytics/usage", **project),
            "analytics: connectors": self._getter("/api/v1/analytics/connectors", **project),
        }

    async def _accept(self) -> UUID:
        request = SendRequest(to="42", text="hello", connector_id=self._tenant.connector_id)
        return (
            await accept_message(self._platform, Caller(self._tenant.project_id, "live"), request)
        ).message_id

    def _getter(self, path: str, **parameters: Any) -> Call:
        return lambda: self._get(path, **parameters)

    async def _get(self, path: str, **parameters: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._tenant.keys[0]}"}
        response = await self._client.get(path, params=parameters, headers=headers)
        if response.status_code != 200:
            raise RuntimeError(f"{path} {parameters}: {response.status_code} {response.text[:300]}")
        return response.json()
