"""`messagejs up`: decides from the settings what to start, checks what it can, then supervises."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from backend.runtime import secrets, supervisor
from backend.runtime.children import Program
from backend.runtime.datadir import DataDir
from backend.runtime.embedded import EmbeddedPostgres, EmbeddedValkey, Layout
from backend.runtime.environment import Environment
from backend.runtime.output import Printer
from backend.runtime.preflight import require_fit
from backend.runtime.programs import CommandProgram, WebProgram
from backend.runtime.web import require_free_port, site_for
from backend.settings import Settings

# Migrations, LISTEN connections, psql and the maintenance jobs.
_SPARE_CONNECTIONS: Final = 40


def up(environment: Environment, *, dashboard: bool, on_ready: Callable[[Settings], None]) -> None:
    """Start everything and run until stopped; raises CannotStart."""
    began = time.monotonic()
    settings = environment.settings()
    printer = Printer(settings.log_format)
    data_dir = environment.data_dir()
    data_dir.require_writable()
    data_dir.lock()
    try:
        had_orphans = data_dir.end_orphans()
        require_free_port(settings.host, settings.port, patience_s=5.0 if had_orphans else 0.0)
        servers = _prepare_environment(environment, settings, data_dir, printer)
        settings = environment.settings()
        if dashboard:
            site_for(settings, _build_progress(printer))
        plan = _plan(settings, servers, printer, dashboard=dashboard)

        def announce_ready() -> None:
            took_s = time.monotonic() - began
            _print_ready(
                environment, settings, data_dir, printer, dashboard=dashboard, took_s=took_s
            )
            on_ready(settings)

        supervisor.run(plan, settings, data_dir, printer, announce_ready)
    finally:
        data_dir.unlock()


def _prepare_environment(
    environment: Environment, settings: Settings, data_dir: DataDir, printer: Printer
) -> list[Program]:
    """Complete the environment for our processes; returns the embedded servers to run."""
    already_set = {name for name in secrets.NAMES if os.environ.get(name)}
    if settings.database_url is not None:
        secrets.require_all(already_set)
    servers: list[Program] = []
    layout = None
    if settings.database_url is None or settings.redis_url is None:
        layout = Layout(data_dir.path)
    if layout is not None and layout.account is not None and layout.account.warning:
        printer.remark(layout.account.warning)
    if settings.database_url is None and layout is not None:
        if secrets.close_to_others(data_dir):
            printer.remark(
                f"{data_dir.secrets_path} was readable by other accounts of this machine, and no"
                " longer is; if others use the machine, create new secrets"
            )
        environment.add(secrets.generate_missing(data_dir, already_set), "secrets.env")
        connections = (
            settings.web_workers + settings.workers
        ) * settings.database_pool_size + _SPARE_CONNECTIONS
        postgres = EmbeddedPostgres(
            layout, max_connections=connections, quiet=settings.log_level != "debug"
        )
        environment.add({"DATABASE_URL": postgres.url}, "messagejs up")
        servers.append(postgres)
        if "ALLOW_PRIVATE_NETWORK" not in os.environ and settings.is_local:
            environment.add({"ALLOW_PRIVATE_NETWORK": "true"}, "messagejs up")
            printer.remark(
                "connectors may use private and loopback hosts, because this server is local; set"
                " ALLOW_PRIVATE_NETWORK=false to refuse them"
            )
    if settings.redis_url is None and layout is not None:
        valkey = EmbeddedValkey(layout)
        environment.add({"REDIS_URL": valkey.url}, "messagejs up")
        servers.append(valkey)
    return servers


def _plan(
    settings: Settings, servers: list[Program], printer: Printer, *, dashboard: bool
) -> supervisor.ProcessPlan:
    environment = printer.child_environment()
    announced = ("DATABASE_URL", "REDIS_URL", "ALLOW_PRIVATE_NETWORK", "HOST", "PORT")
    return supervisor.ProcessPlan(
        servers=servers,
        migration=CommandProgram("migrate", ("migrate", "--quiet"), environment),
        web=WebProgram(settings, () if dashboard else ("--no-dashboard",), environment),
        workers=[
            CommandProgram(f"worker-{n + 1}", ("worker",), environment)
            for n in range(settings.workers)
        ],
        announced={name: os.environ[name] for name in announced if os.environ.get(name)},
        check=lambda: require_fit(settings, "any", printer.remark),
    )


def _build_progress(printer: Printer) -> Callable[[str], None]:
    began = False

    def progress(line: str) -> None:
        nonlocal began
        if not began:
            printer.remark(
                "building the dashboard; this happens at the first start and after changes, and"
                " takes half a minute"
            )
            began = True
        printer.line("build", line)

    return progress


def _print_ready(
    environment: Environment,
    settings: Settings,
    data_dir: DataDir,
    printer: Printer,
    *,
    dashboard: bool,
    took_s: float,
) -> None:
    url = settings.public_url
    printer.remark("ready", url=url, after_s=round(took_s, 1))
    printer.plain("")
    if dashboard:
        printer.plain(f"  Dashboard   {url}")
    printer.plain(f"  API         {url}/api/v1   (docs: {url}/docs)")
    link = data_dir.path / "servers"
    elsewhere = f"   (database: {link.resolve()})" if link.is_symlink() else ""
    printer.plain(f"  Data        {data_dir.path}{elsewhere}")
    if environment.source("REGISTRATION") == "default" and settings.registration != "open":
        printer.plain(
            "  Accounts    the first ('messagejs create-admin' creates it), then by invitation;"
        )
        printer.plain(
            "              with REGISTRATION=open, everyone who reaches this server may register"
        )
    if settings.workers == 0:
        printer.plain("  Workers     none: messages wait until you run 'messagejs worker'")
    printer.plain("  Stop        Ctrl-C")
    printer.plain("")
