"""The processes that the supervisor runs as `messagejs` commands: web server and workers."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from backend.runtime.embedded import NotReady
from backend.runtime.process import Command
from backend.settings import Settings


class CommandProgram:
    """`python -m backend.runtime.cli <arguments>` with the supervisor's effective environment."""

    def __init__(self, name: str, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment

    def prepare(self) -> None:
        """It leaves nothing behind that a new start would fail on."""

    def command(self) -> Command:
        return Command(
            # -P: a package named "backend" in the working directory isn't ours.
            argv=(sys.executable, "-P", "-m", "backend.runtime.cli", *self._arguments),
            env={**os.environ, **self._environment, "MESSAGEJS_PROCESS": self.name},
            cwd=Path.cwd(),
        )

    def probe(self) -> None:
        """A worker only announces itself in Redis; all that can be checked here is that it runs."""

    def check(self) -> None:
        """A worker that hangs is ended by its watchdog."""

    def repair(self, last_lines: Iterable[str]) -> str:  # noqa: ARG002 (nothing to find out)
        return ""


class WebProgram(CommandProgram):
    """Ready when /readyz says so: database, Redis and migrations included."""

    def __init__(
        self, settings: Settings, arguments: tuple[str, ...], environment: dict[str, str]
    ) -> None:
        super().__init__("web", ("web", *arguments), environment)
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(  # noqa: S104
            settings.host, settings.host
        )
        self._port = settings.port

    def probe(self) -> None:
        self._ask("/readyz")

    def check(self) -> None:
        """Check that it answers at all: the watchdog ends hung children of it, but not itself."""
        self._ask("/healthz")

    def _ask(self, path: str) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read(2000).decode(errors="replace")
        except (OSError, http.client.HTTPException) as exc:
            raise NotReady(str(exc)) from exc
        finally:
            connection.close()
        if answer.status != 200:
            raise NotReady(f"{path} answers {answer.status}: {text}")
