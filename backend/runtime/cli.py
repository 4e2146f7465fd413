"""The `messagejs` command.

Heavy imports happen inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend import __version__
from backend.runtime.errors import CannotStart
from backend.settings import MissingSetting

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.runtime.environment import Environment
    from backend.settings import Settings

app = typer.Typer(
    name="messagejs",
    help="The messaging API that a web page may call, self-hosted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # theirs print local variables, and those hold credentials
    context_settings={"help_option_names": ["-h", "--help"]},
)

DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Where the embedded servers and secrets live.  [default: .messagejs]"
    ),
]
HostOption = Annotated[str | None, typer.Option(help="Address to bind.  [default: 127.0.0.1]")]
PortOption = Annotated[int | None, typer.Option(help="Port of dashboard and API.  [default: 8000]")]
WebWorkersOption = Annotated[int | None, typer.Option(help="Web server processes.  [default: 1]")]
NoDashboardOption = Annotated[
    bool, typer.Option("--no-dashboard", help="Serve the API without the dashboard.")
]


def _print_version(expected: bool) -> None:
    if expected:
        typer.echo(f"messagejs {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """The messaging API that a web page may call, self-hosted."""


def _environment(**options: object) -> Environment:
    """Return the environment with the command line's options over everything else."""
    from backend.runtime.environment import Environment

    return Environment(
        {name.upper(): str(value) for name, value in options.items() if value is not None}
    )


@app.command()
def up(
    *,
    host: HostOption = None,
    port: PortOption = None,
    data_dir: DataDirOption = None,
    workers: Annotated[
        int | None, typer.Option(help="Delivery worker processes; 0: none.  [default: 1]")
    ] = None,
    web_workers: WebWorkersOption = None,
    no_dashboard: NoDashboardOption = False,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the dashboard in the browser.")
    ] = False,
) -> None:
    """Start everything: database, Redis, migrations, web server and workers."""
    from backend.runtime.up import up as start

    def on_ready(settings: Settings) -> None:
        if open_browser:
            typer.launch(settings.public_url)

    environment = _environment(
        host=host, port=port, messagejs_data_dir=data_dir, workers=workers, web_workers=web_workers
    )
    start(environment, dashboard=not no_dashboard, on_ready=on_ready)


@app.command()
def web(
    *,
    host: HostOption = None,
    port: PortOption = None,
    data_dir: DataDirOption = None,
    web_workers: WebWorkersOption = None,
    no_dashboard: NoDashboardOption = False,
) -> None:
    """Run the web server alone, against DATABASE_URL and REDIS_URL or a running 'messagejs up'."""
    from backend.runtime.preflight import require_fit
    from backend.runtime.web import require_free_port, serve, site_for

    environment = _environment(
        host=host, port=port, messagejs_data_dir=data_dir, web_workers=web_workers
    )
    _join(environment)
    settings = environment.settings()
    require_fit(settings, "web", _remark(settings))
    require_free_port(settings.host, settings.port, patience_s=3.0)
    serve(settings, site=None if no_dashboard else site_for(settings, typer.echo))


@app.command()
def worker(data_dir: DataDirOption = None) -> None:
    """Run one delivery worker, against DATABASE_URL and REDIS_URL or a running 'messagejs up'."""
    environment = _environment(messagejs_data_dir=data_dir)
    _join(environment)
    settings = environment.settings()
    from backend import logs
    from backend.process.background import collect_nothing
    from backend.runtime.open_files import raise_file_limit
    from backend.runtime.preflight import require_fit
    from backend.runtime.watchdog import watched

    logs.configure_from(settings)
    raise_file_limit()
    # Before anything that begins a thread, and while there is little to share.
    beat = watched(settings.watchdog_s)
    require_fit(settings, "worker", _remark(settings), waits_for_database=True)
    collect_nothing()
    from workers.worker import main as work

    work(beat=beat)


@app.command()
def migrate(
    data_dir: DataDirOption = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing when there was nothing to do.")
    ] = False,
) -> None:
    """Bring the database to this version's schema."""
    from sqlalchemy.exc import OperationalError

    from backend import logs
    from backend.models.migrate import MigrationBlocked, SchemaTooNew, head_revision, upgrade
    from backend.services.health.schema_fit import fit_of

    environment = _environment(messagejs_data_dir=data_dir)
    _join(environment)
    settings = environment.settings()
    logs.configure_from(settings)
    try:
        is_ours = upgrade(
            settings.require_database_url(),
            on_wait=lambda text: typer.echo(f"messagejs: {text}", err=True),
        )
    except SchemaTooNew as exc:
        raise CannotStart(fit_of(exc.revision, exc.oldest_code).detail) from exc
    except MigrationBlocked as exc:
        raise CannotStart(str(exc)) from exc
    except OperationalError as exc:
        raise CannotStart(
            f"The database refused: {exc.orig}. Check DATABASE_URL and the server."
        ) from exc
    if not is_ours:
        typer.echo(
            "A newer version has migrated the database, to a schema that this one"
            f" ({head_revision()}) runs on."
        )
    elif not quiet:
        typer.echo(f"The database is at revision {head_revision()}.")


@app.command("create-admin")
def create_admin(
    *,
    email: Annotated[
        str | None, typer.Option(help="The account's address; asked for when left out.")
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the password from standard input, one line."),
    ] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Make an account that administers the server, or an existing account its administrator."""
    if not password_stdin and not sys.stdin.isatty():
        raise CannotStart(
            "There is no terminal to ask for the password; pass it on standard input:"
            " --password-stdin."
        )
    environment = _environment(messagejs_data_dir=data_dir)
    _join(environment)
    from backend.runtime.create_admin import create_admin as create

    address = email or typer.prompt("E-mail")
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if create(environment.settings(), email=address, password=password):
        typer.echo(f"{address} administers this server. Log in with the password.")
    else:
        typer.echo(
            f"{address} had an account and administers this server now. Its password is the one it"
            " had."
        )


@app.command()
def doctor(data_dir: DataDirOption = None) -> None:
    """Check everything that has to be right, and say what to do where it is not."""
    from backend.runtime.doctor import examine

    if not examine(_environment(messagejs_data_dir=data_dir)):
        raise typer.Exit(1)


@app.command()
def config(data_dir: DataDirOption = None) -> None:
    """Print the effective settings and where each comes from; secrets are masked."""
    from backend.runtime.doctor import print_settings

    environment = _environment(messagejs_data_dir=data_dir)
    environment.join_running()
    print_settings(environment)


def _remark(settings: Settings) -> Callable[[str], None]:
    """Return a function that logs what does not keep a process from starting."""
    import structlog

    from backend import logs

    logs.configure_from(settings)
    return lambda text: structlog.get_logger().warning("start.problem", problem=text)


def _join(environment: Environment) -> None:
    """Find the servers: set ones, or those of a running supervisor."""
    if environment.join_running() is None and not os.environ.get("DATABASE_URL"):
        raise CannotStart(
            f"DATABASE_URL is not set and no 'messagejs up' runs on {environment.data_dir().path}; "
            "start it, or set DATABASE_URL and REDIS_URL."
        )


def main() -> None:
    """Run the command line; problems that the user can fix are told without a traceback."""
    if sys.platform == "win32":
        sys.exit("messagejs runs on Linux and macOS; on Windows use it inside WSL.")
    try:
        app()
    except (CannotStart, MissingSetting) as exc:
        typer.secho(f"messagejs: {exc}", fg="red", err=True)
        sys.exit(2)
    except OSError as exc:
        if exc.errno not in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC}:
            raise
        typer.secho(
            f"messagejs: {exc.strerror}: {exc.filename}. Make room or give rights there.",
            fg="red",
            err=True,
        )
        sys.exit(2)
    except KeyboardInterrupt:  # during a build or a migration; nothing else to say
        sys.exit(130)


if __name__ == "__main__":
    main()
