"""The data directory: created, checked and locked; at most one supervisor uses it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from backend.runtime.errors import DataDirBusy, DataDirUnusable
from backend.runtime.private_files import write_private
from backend.runtime.process import Identity


@dataclass
class Running:
    """What a supervisor tells other commands on the same data directory."""

    supervisor: Identity
    url: str
    environment: dict[str, str]
    children: dict[str, Identity] = field(default_factory=dict)


class DataDir:
    """`<path>/lock`, `runtime.json`, `secrets.env`, and what `Layout` puts next to them."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: IO[str] | None = None

    @property
    def secrets_path(self) -> Path:
        return self.path / "secrets.env"

    @property
    def _running_path(self) -> Path:
        return self.path / "runtime.json"

    def require_writable(self) -> None:
        """Create the directory if need be. Raises DataDirUnusable where it cannot be used."""
        remedy = (
            "Choose another one with --data-dir or MESSAGEJS_DATA_DIR, or fix its owner and mode."
        )
        try:
            # Root's servers run as another account, which must be able to reach their directories.
            self.path.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
            probe = self.path / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as exc:
            raise DataDirUnusable(
                f"The data directory {self.path} is not writable ({exc.strerror}). {remedy}"
            ) from exc

    def looks_writable(self) -> bool:
        """Whether it is probably writable; nothing is created to find out."""
        directory = self.path
        while not directory.exists():
            directory = directory.parent
        return directory.is_dir() and os.access(directory, os.W_OK)

    def lock(self) -> None:
        """Take the directory for this process until it ends; raises DataDirBusy."""
        path = self.path / "lock"
        if not path.exists():
            write_private(path, "")
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            file.close()
            running = self.running()
            where = f" (pid {running.supervisor.pid}, {running.url})" if running else ""
            raise DataDirBusy(
                f"'messagejs up' already runs on {self.path}{where}. Stop it first, or choose"
                " another --data-dir."
            ) from exc
        self._lock = file

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def announce(self, running: Running) -> None:
        write_private(self._running_path, json.dumps(asdict(running), indent=1))

    def withdraw(self) -> None:
        self._running_path.unlink(missing_ok=True)

    def running(self) -> Running | None:
        """Return what the running supervisor announced; None when there is none."""
        announced = self._announced()
        return announced if announced is not None and announced.supervisor.is_alive() else None

    def _announced(self) -> Running | None:
        try:
            raw: dict[str, Any] = json.loads(self._running_path.read_text())
            return Running(
                supervisor=Identity(**raw["supervisor"]),
                url=raw["url"],
                environment=raw["environment"],
                children={name: Identity(**child) for name, child in raw["children"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def end_orphans(self, patience_s: float = 15.0) -> bool:
        """Ask the children of a killed supervisor to stop, and wait; True if there were any.

        Linux has asked them already (parent-death signal), other systems have not. The caller holds
        the lock.
        """
        announced = self._announced()
        self.withdraw()
        if announced is None:
            return False
        orphans = [child for child in announced.children.values() if child.is_alive()]
        for orphan in orphans:
            orphan.ask_to_stop()
        deadline = time.monotonic() + patience_s
        while alive := [orphan for orphan in orphans if orphan.is_alive()]:
            if time.monotonic() > deadline:
                for orphan in alive:
                    orphan.kill()
            time.sleep(0.05)
        return bool(orphans)
