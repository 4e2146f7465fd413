"""What `messagejs doctor` says about servers and processes: what /readyz says, with hosts."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any, Final

import psycopg

from backend.runtime.errors import CannotStart
from backend.runtime.finding import Finding, FindingState
from backend.runtime.preflight import Problem, configuration_problems, database_problems, first_line
from backend.runtime.web import require_free_port
from backend.services.health.facts import DECIDING, WARNING, Check, check_write
from backend.services.health.heartbeat import ALIVE_S
from backend.services.health.readiness import check_redis
from backend.settings import Settings

_STATES: Final[dict[str, FindingState]] = {"ok": "ok", "warning": "note", "failed": "wrong"}
_TIMEOUT_S: Final = 3.0
_EMBEDDED: Final = "embedded, not running; 'messagejs up' starts it"
_HERE: Final = {
    "0.0.0.0": "127.0.0.1",  # noqa: S104
    "::": "::1",
    "": "127.0.0.1",
}

# Doctor writes a row, and rolls it back at once.
_WRITE: Final = """
INSERT INTO processes (id, role, host, pid, version, started_at, beat_at, failing)
VALUES (gen_random_uuid(), 'doctor', '', 0, '', now(), now(), '[]')
"""
_PROCESSES: Final = """
SELECT role, host, pid, version, extract(epoch FROM now() - beat_at)::int, failing FROM processes
WHERE role <> 'doctor' ORDER BY role, host, pid
"""


def server(settings: Settings) -> Finding:
    """Check whether the web server could listen, or already does."""
    try:
        require_free_port(settings.host, settings.port)
    except CannotStart as exc:
        address = f"{settings.host}:{settings.port}"
        answer = _readyz(_HERE.get(settings.host, settings.host), settings.port)
        if answer is None:
            return Finding("server", "wrong", str(exc))
        failed = [check["detail"] for check in answer.values() if check["status"] == "failed"]
        if failed:
            return Finding(
                "server",
                "wrong",
                f"'messagejs web' runs at {address} and is not ready: {' '.join(failed)}",
            )
        return Finding("server", "ok", f"'messagejs web' runs at {address} and is ready")
    return Finding("server", "ok", f"{settings.host}:{settings.port} is free")


def _readyz(host: str, port: int) -> dict[str, Any] | None:
    """Return the checks of the MessageJS that listens there; None when it is something else."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        checks: Any = json.loads(connection.getresponse().read(100_000))["checks"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()
    return checks if "database" in checks and "migrations" in checks else None


def installation(settings: Settings) -> Iterator[Finding]:
    """Examine secrets, database, Redis and processes, for settings that name a database."""
    problems = configuration_problems(settings, "any")
    flight = asyncio.run(database_problems(settings, leave_fingerprints=False))
    problems += flight.problems
    yield _finding(
        "secrets",
        problems,
        "set, and the same as the database was written with" if flight.schema else "set",
    )
    yield _finding("database", problems, f"Reachable. {flight.schema}")
    if settings.redis_url is None:
        yield _finding("redis", problems, "")
    else:
        yield asyncio.run(redis(settings))
    if not any(problem.topic == "database" for problem in problems):
        yield from asyncio.run(_facts(settings))


def _finding(topic: str, problems: list[Problem], otherwise: str) -> Finding:
    texts = [problem.text for problem in problems if problem.topic == topic]
    return Finding(topic, "wrong", "; ".join(texts)) if texts else Finding(topic, "ok", otherwise)


async def redis(settings: Settings) -> Finding:
    """Write to Redis, and check what it would do when it runs out of memory."""
    from redis.asyncio import Redis

    if settings.redis_url is None:
        return Finding("redis", "note", _EMBEDDED)
    client: Redis = Redis.from_url(
        settings.require_redis_url(), socket_connect_timeout=3, socket_timeout=3
    )
    try:
        info = await client.info()
        check = await check_redis(client, is_needed=False)
    except Exception as exc:  # noqa: BLE001 (the finding says what it was)
        return Finding(
            "redis", "wrong", f"not reachable: {first_line(exc)}; check REDIS_URL and the server"
        )
    finally:
        await client.aclose()
    if check.status != "ok":
        return Finding("redis", "wrong", check.detail)
    name = info.get("server_name", "redis")
    text = f"reachable and writable, {name} {info.get(f'{name}_version', '')}"
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy.startswith("allkeys"):
        return Finding(
            "redis",
            "note",
            f"{text}; with maxmemory-policy {policy} it forgets limits and pauses, so set it to"
            " noeviction",
        )
    return Finding("redis", "ok", text)


async def _facts(settings: Settings) -> list[Finding]:
    """Return what the database says about the installation, by the same checks as /readyz."""
    asks = {"clock": DECIDING["clock"], **WARNING}
    connection = await psycopg.AsyncConnection.connect(
        settings.require_database_url(), autocommit=True, connect_timeout=int(_TIMEOUT_S)
    )
    try:
        checks = {"writing": await check_write(_write(connection))}
        for name, ask in asks.items():
            checks[name] = await ask(connection)
        rows = await (await connection.execute(_PROCESSES)).fetchall()
    except Exception as exc:  # noqa: BLE001 (the finding says what it was)
        return [Finding("database", "wrong", f"does not answer: {first_line(exc)}")]
    finally:
        await connection.close()
    return [
        *(_shown(name, check) for name, check in checks.items()),
        *(_process(row) for row in rows),
    ]


async def _write(connection: psycopg.AsyncConnection[Any]) -> None:
    async with connection.transaction(force_rollback=True):
        await connection.execute(_WRITE)


def _shown(name: str, check: Check) -> Finding:
    return Finding(name, _STATES[check.status], check.detail)


def _process(row: tuple[Any, ...]) -> Finding:
    role, host, pid, version, age_s, failing = row
    failed = "".join(f"; {task['name']} fails ({task['error']})" for task in failing)
    is_healthy = age_s <= ALIVE_S and not failing
    text = f"{role} {version} on {host} (pid {pid}), last seen {age_s} s ago{failed}"
    return Finding("process", "ok" if is_healthy else "note", text)
