"""The processes of our own that the supervisor runs: web server and workers, as `messagejs`
commands.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from backend.runtime.embedded import NotReady
from backend.runtime.process import Command
from backend.settings import Settings


class OwnProgram:
    """`python -m backend.runtime.cli <arguments>` with the supervisor's effective environment."""

    def __init__(self, name: str, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment

    def prepare(self) -> None:
        """Nothing is left behind that a new start would trip over."""

    def command(self) -> Command:
        return Command(
            # -P: a package named "backend" where the user stands is not ours.
            argv=(sys.executable, "-P", "-m", "backend.runtime.cli", *self._arguments),
            env={**os.environ, **self._environment, "MESSAGEJS_PROCESS": self.name},
            cwd=Path.cwd(),
        )

    def probe(self) -> None:
        """A worker announces itself in Redis only; running is all that can be asked here."""

    def check(self) -> None:
        """A worker that hangs is ended by its own watchdog."""

    def repair(self, last_lines: Iterable[str]) -> str:  # noqa: ARG002 (nothing to find out)
        return ""


class WebProgram(OwnProgram):
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
        """Ask whether it answers at all: its watchdog ends the processes that serve, but not their
        parent.
        """
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
