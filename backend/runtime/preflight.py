"""What would make a process fail or do harm: checked at every start and by `messagejs doctor`, with
the same messages.

A server that is down stops no process: they wait for it. Light on imports, because the main process
of a web server checks too and must stay small.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from backend.runtime import secrets
from backend.runtime.errors import SecretMissing, Unfit
from backend.settings import Settings

Part = Literal["web", "worker", "any"]
_CONNECT_TIMEOUT_S: Final = 3
_RETRY_S: Final = 1.0
# Only web servers sign and verify log-ins.
_SECRETS: Final[dict[Part, tuple[str, ...]]] = {
    "web": secrets.NAMES,
    "worker": ("ENCRYPTION_KEY", "KEY_PEPPER"),
    "any": secrets.NAMES,
}


@dataclass(frozen=True)
class Problem:
    """`stops`: a process must not start with it; other problems are only reported."""

    topic: Literal["secrets", "database", "redis"]
    text: str
    stops: bool = True
    is_down: bool = False  # the server does not answer


@dataclass(frozen=True)
class Flight:
    """The problems; `schema` says how the database's schema fits, None where that is unknown."""

    problems: list[Problem]
    schema: str | None = None


def configuration_problems(settings: Settings, part: Part) -> list[Problem]:
    """Return what is missing in settings that name a database."""
    problems = []
    try:
        already_set = {
            name for name in secrets.NAMES if getattr(settings, name.lower()) is not None
        }
        secrets.require_all(already_set, _SECRETS[part])
    except SecretMissing as exc:
        problems.append(Problem("secrets", str(exc)))
    if settings.redis_url is None:
        problems.append(
            Problem(
                "redis",
                "REDIS_URL is not set: 'messagejs web' and 'messagejs worker' need it as well as"
                " DATABASE_URL; set it to redis://host:6379/0. (Only 'messagejs up' starts an"
                " embedded server.)",
            )
        )
    return problems


async def database_problems(settings: Settings, *, leave_fingerprints: bool) -> Flight:
    """Check whether this process and the database belong together.

    `leave_fingerprints`: as the first process to start, write those of the secrets.
    """
    import psycopg

    from backend.services.health.fingerprints import (
        Fingerprints,
        settle_secrets,
        unreadable_connectors,
        wrong_secrets,
    )
    from backend.services.health.schema_fit import read_schema_fit

    has_secrets = settings.encryption_key is not None and settings.key_pepper is not None
    try:
        connection = await psycopg.AsyncConnection.connect(
            settings.require_database_url(), autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S
        )
    except psycopg.ProgrammingError:  # libpq's message may contain part of the password
        text = (
            "DATABASE_URL cannot be read by Postgres's client; check the names in its query (after"
            " the ?)"
        )
        return Flight([Problem("database", text)])
    except (psycopg.Error, OSError) as exc:
        text = f"not reachable: {first_line(exc)}; check DATABASE_URL and the server"
        return Flight([Problem("database", text, stops=False, is_down=True)])
    try:
        fit = await read_schema_fit(connection)
        problems = []
        if not fit.is_usable:
            problems.append(Problem("database", fit.detail, stops=fit.state == "too_new"))
        if has_secrets:
            compare = settle_secrets if leave_fingerprints else wrong_secrets
            fingerprints = Fingerprints.of(settings)
            mismatches = await compare(connection, fingerprints)
            problems += [Problem("secrets", text) for text in mismatches]
            unreadable = await unreadable_connectors(connection, fingerprints)
            if unreadable is not None and not mismatches:
                problems.append(Problem("secrets", unreadable, stops=False))
    except psycopg.Error as exc:
        return Flight(
            [Problem("database", f"does not answer: {first_line(exc)}", stops=False, is_down=True)]
        )
    finally:
        await connection.close()
    return Flight(problems, fit.detail)


def require_fit(
    settings: Settings,
    part: Part,
    remark: Callable[[str], None],
    *,
    waits_for_database: bool = False,
) -> None:
    """Raise Unfit with all problems that keep a process from starting; `remark` gets the others.

    `waits_for_database`: retry until the database answers, for a process that can do nothing
    without it.
    """
    if problems := configuration_problems(settings, part):
        raise Unfit(_together(problems))
    last_text = ""
    while True:
        problems = asyncio.run(database_problems(settings, leave_fingerprints=True)).problems
        if stopping := [problem for problem in problems if problem.stops]:
            raise Unfit(_together(stopping))
        text = "; ".join(f"{problem.topic}: {problem.text}" for problem in problems)
        if text and text != last_text:
            remark(text)
            last_text = text
        if not waits_for_database or not any(problem.is_down for problem in problems):
            return
        time.sleep(_RETRY_S)


def first_line(exc: BaseException) -> str:
    return (str(exc).splitlines() or [type(exc).__name__])[0]


def _together(problems: list[Problem]) -> str:
    return "\n".join(problem.text for problem in problems)
