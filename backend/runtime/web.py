"""The web server: Granian with the dashboard and the API on one port, or the API alone."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from backend import logs
from backend.process.background import BackgroundTasks, collect_nothing, keep_for_good
from backend.runtime.errors import CannotStart, PortTaken
from backend.runtime.frontend import Frontend, project_root
from backend.runtime.open_files import most_connections, raise_file_limit
from backend.runtime.process import die_with_parent
from backend.runtime.watchdog import Pulse, watch_children
from backend.settings import Settings, get_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from backend.api.frame.slow_bodies import TransferLimits

_DASHBOARD: Final = "messagejs_app.messagejs_app:app"
_API: Final = "backend.api.app:create_api"
# Our loggers' handlers, not Granian's.
_LOGGING: Final = {
    "handlers": {},
    "loggers": {
        name: {"handlers": [], "propagate": True} for name in ("_granian", "granian.access")
    },
}


def serve(settings: Settings, *, site: Path | None) -> None:
    """Serve until SIGTERM or SIGINT; `site` is the built frontend, None for the API alone."""
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server

    if site is not None:
        os.environ.update(reflex_environment(settings, site))
        os.chdir(project_root())
    server = Server(
        target=_DASHBOARD if site is not None else _API,
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=True,
        workers=settings.web_workers,
        backlog=2048,
        # Connections of a process, open dashboards included; an address gets
        # CONNECTIONS_PER_ADDRESS of them.
        backpressure=most_connections(raise_file_limit()),
        http1_settings=HTTP1Settings(header_read_timeout=15_000, keep_alive=True),
        log_level=LogLevels.debug if settings.log_level == "debug" else LogLevels.warning,
        log_dictconfig=_LOGGING,
        log_access=False,
        respawn_failed_workers=True,
        workers_kill_timeout=8,
    )
    logs.configure_from(settings)
    pulse = watch_children(settings.watchdog_s) if settings.watchdog_s else None
    server.serve(target_loader=partial(_load, server.target, pulse), wrap_loader=False)


def reflex_environment(settings: Settings, site: Path) -> dict[str, str]:
    """What Reflex needs to serve a finished build without compiling. The double underscores are
    Reflex's.
    """
    several = settings.web_workers > 1
    environment = {
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "REFLEX_CORS_ALLOWED_ORIGINS": settings.public_url,
        "REFLEX_DIR": str(site.parent / "reflex"),
        "REFLEX_ENV_MODE": "prod",
        # Page state lives with its socket; only several processes have to share it.
        "REFLEX_STATE_MANAGER_MODE": "redis" if several else "memory",
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_WEB_WORKDIR": str(site),
        "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "true",
        "__REFLEX_SKIP_COMPILE": "true",
    }
    if several:
        environment["REFLEX_REDIS_URL"] = settings.require_redis_url()
    return environment


def _load(target: str, pulse: Pulse | None) -> ASGIApp:
    """Make the application in a worker process, which must not outlive Granian's main process."""
    from granian._internal import load_target

    from backend.api.frame import sockets
    from backend.api.frame.connection_limit import ConnectionLimit
    from backend.api.frame.proxies import TrustedProxies
    from backend.api.frame.slow_readers import SlowReaders

    collect_nothing()
    die_with_parent(signal.SIGTERM)
    settings = get_settings()
    logs.configure_from(settings)
    application = guarded(cast("ASGIApp", load_target(target, factory=True)), settings)
    if pulse is not None:
        pulse.prepare()
        application = _with_pulse(application, pulse)
    proxies = TrustedProxies(settings.trusted_proxies)
    sockets.enforce(
        ConnectionLimit(settings.port, settings.connections_per_address, proxies),
        SlowReaders(settings.port, transfer_limits(settings), proxies),
    )
    keep_for_good()
    return application


def guarded(application: ASGIApp, settings: Settings) -> ASGIApp:
    """Wrap an application in the limits on strangers, and in what finds out who a client is."""
    from backend.api.frame.hosts import LocalHosts
    from backend.api.frame.proxies import ProxyHeaders, TrustedProxies
    from backend.api.frame.slow_bodies import SlowBodies

    application = SlowBodies(application, transfer_limits(settings))
    if settings.is_local:
        application = LocalHosts(application, [settings.host], settings.allowed_origins)
    proxies = TrustedProxies(settings.trusted_proxies)
    return ProxyHeaders(application, proxies) if proxies else application


def transfer_limits(settings: Settings) -> TransferLimits:
    from backend.api.frame.slow_bodies import TransferLimits

    return TransferLimits(
        body_timeout_s=settings.body_timeout_s,
        body_bytes_per_s=settings.body_bytes_per_s,
        slow_bodies_per_address=settings.slow_bodies_per_address,
    )


def _with_pulse(application: ASGIApp, pulse: Pulse) -> ASGIApp:
    """Beat from the event loop that serves, as soon as the application has started."""

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        tasks = BackgroundTasks()

        async def send_and_begin(message: Message) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                tasks.start("pulse", pulse.keep_beating)

        try:
            await application(scope, receive, send_and_begin)
        finally:
            await tasks.aclose()

    def dispatch(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return (lifespan if scope["type"] == "lifespan" else application)(scope, receive, send)

    return dispatch


def site_for(settings: Settings, progress: Callable[[str], None]) -> Path:
    return Frontend(project_root(), settings.data_dir).ensure_site(progress)


def require_free_port(host: str, port: int, *, patience_s: float = 0.0) -> None:
    """Raise PortTaken when something listens there; wait a little for a server that is stopping."""
    deadline = time.monotonic() + patience_s
    while (problem := _bind_problem(host, port)) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    if problem is not None:
        raise problem


def _bind_problem(host: str, port: int) -> CannotStart | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
    except socket.gaierror as exc:
        return CannotStart(
            f"HOST={host} is not an address of this machine ({exc.strerror}); use 127.0.0.1 or"
            " 0.0.0.0."
        )
    with socket.socket(family, kind, protocol) as probe:
        # As servers do, for connections in TIME_WAIT. A listener still refuses us.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except PermissionError:
            return PortTaken(
                f"Port {port} needs root privileges; choose a port above 1023 with --port."
            )
        except OSError as exc:
            return PortTaken(
                f"{host}:{port} cannot be used ({exc.strerror}); choose another port with --port, "
                "for example --port 8001, or stop what listens there."
            )
    return None
