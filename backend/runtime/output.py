"""What `messagejs up` prints: every process's lines after its name, or JSON lines unchanged."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Final, Literal

_COLORS: Final = {"up": "1", "postgres": "34", "valkey": "35", "migrate": "33", "web": "32"}
_WORKER_COLOR: Final = "36"
_NAME_WIDTH: Final = 9


class Printer:
    """Goes silent when its reader has gone (`messagejs up | head`): the servers keep running."""

    def __init__(self, log_format: Literal["auto", "console", "json"]) -> None:
        self._is_json = log_format == "json" or (log_format == "auto" and not sys.stdout.isatty())
        self._colors = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._broken = False

    def child_environment(self) -> dict[str, str]:
        """What our processes need to know to write matching lines."""
        environment = {
            "LOG_FORMAT": "json" if self._is_json else "console",
            "PYTHONUNBUFFERED": "1",
        }
        if not self._is_json:
            environment["MESSAGEJS_PREFIXED"] = "1"
        if self._colors:
            environment["FORCE_COLOR"] = "1"
        return environment

    def line(self, name: str, text: str) -> None:
        if not self._is_json:
            self._write(f"{self._prefix(name)} {text}")
        elif text.startswith("{") and text.endswith("}"):
            self._write(text)
        else:
            self._write_json(text, process=name)

    def remark(self, event: str, **fields: object) -> None:
        """Print a remark of the supervisor."""
        if self._is_json:
            self._write_json(event, process="up", **fields)
        else:
            details = "".join(f" {key}={value}" for key, value in fields.items())
            self._write(f"{self._prefix('up')} {event}{details}")

    def plain(self, text: str) -> None:
        """Print a line that is only for people."""
        if not self._is_json:
            self._write(text)

    def _prefix(self, name: str) -> str:
        label = f"{name:<{_NAME_WIDTH}} |"
        return f"\x1b[{_COLORS.get(name, _WORKER_COLOR)}m{label}\x1b[0m" if self._colors else label

    def _write_json(self, event: str, **fields: object) -> None:
        stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        self._write(
            json.dumps({**fields, "level": "info", "timestamp": stamp, "event": event}, default=str)
        )

    def _write(self, text: str) -> None:
        if self._broken:
            return
        try:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
        except OSError:
            self._broken = True
